package io.xenferry.iscsi;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A logical unit's URL in libiscsi's grammar: {@code
 * iscsi://[user[%password]@]host[:port]/target-name/lun}; IPv6 addresses stand in brackets. The
 * percent sign separates user and password and escapes bytes that a part cannot hold ({@code %40}).
 *
 * <p>{@link #toString} shows no password; {@link #text} gives all of it.
 *
 * @param credentials CHAP user and secret
 * @param host name or address, without brackets
 * @param port 1–65535
 * @param iqn target name
 * @param lun 0–16383
 */
public record IscsiUrl(
    Optional<Credentials> credentials, String host, int port, String iqn, int lun) {
  /** IANA's port. */
  public static final int DEFAULT_PORT = 3260;

  private static final int MAX_LENGTH = 2048;
  private static final Pattern NAME =
      Pattern.compile("(iqn\\.[0-9]{4}-[0-9]{2}\\.|eui\\.|naa\\.)[A-Za-z0-9.:_\\-]{1,210}");
  private static final Pattern URL =
      Pattern.compile(
          "iscsi://(?:(?<auth>[^@/]*)@)?(?<host>\\[[0-9A-Fa-f:.%a-z]+]|[^/:@\\[\\]]+)"
              + "(?::(?<port>[0-9]{1,5}))?/(?<iqn>[^/?]+)/(?<lun>[0-9]{1,5})");

  /**
   * A CHAP account.
   *
   * @param user not empty
   * @param secret never shown by {@link #toString}
   */
  public record Credentials(String user, String secret) {
    public Credentials {
      if (user.isEmpty() || user.length() > 255 || secret.length() > 255) {
        throw new IllegalArgumentException("CHAP user or secret of impossible length");
      }
    }

    @Override
    public String toString() {
      return user + ":***";
    }
  }

  public IscsiUrl {
    if (host.isEmpty() || port < 1 || port > 65535 || lun < 0 || lun > 16383) {
      throw new IllegalArgumentException("host, port or LUN of an iSCSI URL out of range");
    }
    if (!NAME.matcher(iqn).matches()) {
      throw new IllegalArgumentException("not an iSCSI name: " + iqn);
    }
  }

  /**
   * @throws IllegalArgumentException if the text is not such a URL; the message has no secret
   */
  public static IscsiUrl parse(String text) {
    Matcher matcher = URL.matcher(text.length() > MAX_LENGTH ? "" : text);
    if (!matcher.matches()) {
      throw new IllegalArgumentException(
          "not an iSCSI URL (iscsi://[user[%password]@]host[:port]/iqn/lun)");
    }
    String host = matcher.group("host");
    String port = matcher.group("port");
    return new IscsiUrl(
        Optional.ofNullable(matcher.group("auth")).map(IscsiUrl::account),
        host.startsWith("[") ? host.substring(1, host.length() - 1) : host,
        port == null ? DEFAULT_PORT : Integer.parseInt(port),
        matcher.group("iqn"),
        Integer.parseInt(matcher.group("lun")));
  }

  /** user%password; a percent sign that begins an escape (%25, %40 …) does not separate. */
  private static Credentials account(String auth) {
    int cut = auth.indexOf('%');
    while (cut >= 0 && isEscape(auth, cut)) {
      cut = auth.indexOf('%', cut + 1);
    }
    if (cut < 0) {
      // libiscsi takes the first percent sign whatever follows.
      cut = auth.indexOf('%');
    }
    return cut < 0
        ? new Credentials(decode(auth), "")
        : new Credentials(decode(auth.substring(0, cut)), decode(auth.substring(cut + 1)));
  }

  /** Only what {@link #text} writes counts as an escape: a password may begin with hex digits. */
  private static boolean isEscape(String text, int at) {
    return text.startsWith("%25", at) || text.startsWith("%40", at) || text.startsWith("%2F", at);
  }

  private static String decode(String text) {
    return text.replace("%40", "@").replace("%2F", "/").replace("%25", "%");
  }

  private static String encode(String text) {
    return text.replace("%", "%25").replace("@", "%40").replace("/", "%2F");
  }

  private String portal() {
    return (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
  }

  /** The whole URL, secret included: for the peer that must log in, never for a log. */
  public String text() {
    String auth =
        credentials.map(c -> encode(c.user()) + "%" + encode(c.secret()) + "@").orElse("");
    return "iscsi://" + auth + portal() + "/" + iqn + "/" + lun;
  }

  /** The URL without account. */
  @Override
  public String toString() {
    return "iscsi://" + credentials.map(c -> "***@").orElse("") + portal() + "/" + iqn + "/" + lun;
  }
}
