package io.xenferry.sr;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.TreeMap;

/** The drivers there are, by SR type. Immutable. */
public final class SrDrivers {
  private final Map<String, SrDriver> byType = new TreeMap<>();

  public SrDrivers(Iterable<? extends SrDriver> drivers) {
    for (SrDriver driver : drivers) {
      if (byType.putIfAbsent(driver.type(), driver) != null) {
        throw new IllegalArgumentException("two drivers of SR type " + driver.type());
      }
    }
  }

  /** Those that {@link ServiceLoader} finds on the class path. */
  public static SrDrivers installed() {
    return new SrDrivers(ServiceLoader.load(SrDriver.class));
  }

  public List<SrDriver> all() {
    return List.copyOf(byType.values());
  }

  /**
   * The driver of a type, whatever its case.
   *
   * @throws SmapiException SR_UNKNOWN_DRIVER
   */
  public SrDriver ofType(String type) throws SmapiException {
    SrDriver driver = byType.get(type.toLowerCase(Locale.ROOT));
    if (driver == null) {
      throw SmapiException.backend("SR_UNKNOWN_DRIVER", List.of(type));
    }
    return driver;
  }
}
