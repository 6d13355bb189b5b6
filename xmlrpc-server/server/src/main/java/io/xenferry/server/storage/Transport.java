package io.xenferry.server.storage;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;

/** How a migration's disks are carried to the destination. */
public enum Transport {
  /** iSCSI, through tgtd or the embedded target. */
  ISCSI("iscsi"),
  /** NBD over TLS, from this server itself. */
  NBDS("nbds");

  /** The option of a migration that chooses; absent means {@link #ISCSI}. */
  public static final String OPTION = "transport";

  private final String word;

  Transport(String word) {
    this.word = word;
  }

  /** As options and people say it, and as URLs begin. */
  public String word() {
    return word;
  }

  public boolean carries(String url) {
    return url.startsWith(word + "://");
  }

  public static Optional<Transport> of(String word) {
    return Arrays.stream(values()).filter(t -> t.word.equals(word)).findFirst();
  }

  /** What the options of a migration choose; empty when that is not known here. */
  public static Optional<Transport> chosen(Map<String, String> options) {
    return of(options.getOrDefault(OPTION, ISCSI.word));
  }
}
