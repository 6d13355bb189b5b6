package io.xenferry.iscsi.embedded;

import java.net.InetAddress;
import java.net.UnknownHostException;

/** An address or a network in prefix notation, as an access rule names it. */
final class Network {
  private Network() {}

  static boolean contains(String network, InetAddress address) {
    int slash = network.indexOf('/');
    try {
      // The rule holds digits, dots and colons only, so that this never asks a name server.
      byte[] wanted =
          InetAddress.getByName(slash < 0 ? network : network.substring(0, slash)).getAddress();
      byte[] given = address.getAddress();
      int bits = slash < 0 ? wanted.length * 8 : Integer.parseInt(network.substring(slash + 1));
      if (wanted.length != given.length || bits > wanted.length * 8) {
        return false;
      }
      for (int i = 0; i < bits; i++) {
        int mask = 0x80 >> i % 8;
        if ((wanted[i / 8] & mask) != (given[i / 8] & mask)) {
          return false;
        }
      }
      return true;
    } catch (UnknownHostException | NumberFormatException e) {
      return false;
    }
  }
}
