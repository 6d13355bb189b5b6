package io.xenferry.sr;

/**
 * An SR as SMAPIv2 describes it (sr_info).
 *
 * @param totalSpace bytes
 * @param freeSpace bytes
 */
public record SrInfo(
    String uuid,
    String nameLabel,
    String nameDescription,
    long totalSpace,
    long freeSpace,
    boolean clustered,
    Health health) {

  /** Whether it can be used. */
  public enum Health {
    HEALTHY("Healthy"),
    RECOVERING("Recovering"),
    UNREACHABLE("Unreachable"),
    UNAVAILABLE("Unavailable");

    private final String word;

    Health(String word) {
      this.word = word;
    }

    public String word() {
      return word;
    }
  }
}
