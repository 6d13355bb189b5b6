package io.xenferry.server;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.jar.JarFile;
import java.util.stream.Stream;

/**
 * A published Java SDK, unmodified, which the build has fetched. All releases have classes of the
 * same names, so that each has a class loader of its own and is called by reflection.
 */
final class JavaSdk implements AutoCloseable {
  private static final String PACKAGE = "com.xensource.xenapi.";

  /** What an SDK makes of a word that it does not know. */
  private static final String UNKNOWN = "UNRECOGNIZED";

  private final URLClassLoader loader;
  private final Path jar;

  JavaSdk(String version) throws IOException {
    Path directory = Path.of("target", "sdks", version);
    List<URL> jars = new ArrayList<>();
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.sorted().toList()) {
        jars.add(file.toUri().toURL());
      }
    }
    jar = directory.resolve("xen-api-" + version + ".jar");
    loader = new URLClassLoader(jars.toArray(URL[]::new), ClassLoader.getPlatformClassLoader());
  }

  @Override
  public void close() throws IOException {
    loader.close();
  }

  /** The classes of XenAPI that it knows and can list. */
  List<String> classes() throws IOException {
    try (JarFile file = new JarFile(jar.toFile())) {
      String prefix = PACKAGE.replace('.', '/');
      return file.stream()
          .map(e -> e.getName())
          .filter(n -> n.startsWith(prefix) && n.endsWith("$Record.class"))
          .map(n -> n.substring(prefix.length(), n.indexOf('$')))
          .filter(
              n -> Arrays.stream(type(n).getMethods()).anyMatch(m -> isNamed(m, "getAllRecords")))
          .sorted()
          .toList();
    }
  }

  private static boolean isNamed(Method m, String name) {
    return m.getName().equals(name) && m.getParameterCount() == 1;
  }

  Class<?> type(String name) {
    try {
      return loader.loadClass(PACKAGE + name);
    } catch (ClassNotFoundException e) {
      throw new IllegalArgumentException(e);
    }
  }

  /** A connection with a session of root. */
  Object connect(TestServer server) throws Exception {
    URL url = URI.create("https://" + server.address + ":" + server.server.port()).toURL();
    Object connection = type("Connection").getConstructor(URL.class).newInstance(url);
    call("Session", "loginWithPassword", connection, "root", server.password, "2.14");
    return connection;
  }

  /**
   * Calls a method.
   *
   * @param on the name of a class, or an object
   * @throws Exception what the SDK throws
   */
  Object call(Object on, String method, Object... arguments) throws Exception {
    Class<?> type = on instanceof String name ? type(name) : on.getClass();
    for (Method m : type.getMethods()) {
      if (m.getName().equals(method) && takes(m, arguments)) {
        try {
          return m.invoke(on instanceof String ? null : on, arguments);
        } catch (InvocationTargetException e) {
          if (e.getCause() instanceof Exception cause) {
            throw cause;
          }
          throw e;
        }
      }
    }
    throw new NoSuchMethodException(type + "." + method);
  }

  private static boolean takes(Method m, Object[] arguments) {
    Class<?>[] types = m.getParameterTypes();
    if (types.length != arguments.length) {
      return false;
    }
    for (int i = 0; i < types.length; i++) {
      if (!types[i].isInstance(arguments[i])) {
        return false;
      }
    }
    return true;
  }

  /** The value of a public field of a record. */
  static Object field(Object record, String name) throws ReflectiveOperationException {
    return record.getClass().getField(name).get(record);
  }

  /** The fields of a record that the server did not send, or that hold an unknown word. */
  static List<String> faults(Object record) throws ReflectiveOperationException {
    List<String> faults = new ArrayList<>();
    for (java.lang.reflect.Field field : record.getClass().getFields()) {
      if (!Modifier.isStatic(field.getModifiers())) {
        Object value = field.get(record);
        if (value == null) {
          faults.add(field.getName() + " is missing");
        } else if (unknown(value)) {
          faults.add(field.getName() + " holds an unknown word");
        }
      }
    }
    return faults;
  }

  private static boolean unknown(Object value) {
    return switch (value) {
      case Enum<?> word -> word.name().equals(UNKNOWN);
      case Collection<?> items -> items.stream().anyMatch(JavaSdk::unknown);
      case Map<?, ?> map -> unknown(map.keySet()) || unknown(map.values());
      default -> false;
    };
  }
}
