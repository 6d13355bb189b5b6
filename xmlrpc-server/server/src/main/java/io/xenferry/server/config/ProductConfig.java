package io.xenferry.server.config;

/**
 * How the server introduces itself. Published clients compare these: the defaults are such that
 * they accept the server.
 *
 * @param brand clients refuse brands they do not know
 * @param version integers and dots
 * @param platformVersion a semantic version, 3.0 or newer
 * @param xapiVersion its first two numbers travel with exported metadata; receivers refuse newer
 *     ones
 */
public record ProductConfig(
    String brand,
    String version,
    String platformName,
    String platformVersion,
    String xapiVersion,
    String buildNumber,
    String poolName,
    String hostName) {

  public static ProductConfig defaults() {
    return new ProductConfig(
        "XenServer", "8.4.0", "XCP", "3.4.0", "1.20", "xenferry", "", "xenferry");
  }
}
