package io.xenferry.iscsi.target;

import java.util.regex.Pattern;

/**
 * Who may log in: by address or by name. Never both, since tgtd ors its rules; CHAP comes on top.
 */
public sealed interface Acl {

  /**
   * @param network an address, or a network as address/prefix length
   */
  record ByAddress(String network) implements Acl {
    private static final Pattern NETWORK = Pattern.compile("[0-9A-Fa-f:.]+(/[0-9]{1,3})?");

    public ByAddress {
      if (!NETWORK.matcher(network).matches()) {
        throw new IllegalArgumentException("not an address or network: " + network);
      }
    }
  }

  /**
   * @param initiator iSCSI name
   */
  record ByName(String initiator) implements Acl {
    public ByName {
      if (!initiator.matches("(iqn|eui|naa)\\.[A-Za-z0-9.:_\\-]{1,219}")) {
        throw new IllegalArgumentException("not an initiator name: " + initiator);
      }
    }
  }

  /** Everybody who can reach the portal; CHAP is then the only guard. */
  record Everybody() implements Acl {}
}
