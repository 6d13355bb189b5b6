package io.xenferry.iscsi.initiator;

import io.xenferry.iscsi.pdu.HeaderReader;
import io.xenferry.iscsi.pdu.Headers;
import io.xenferry.iscsi.pdu.ProtocolException;
import io.xenferry.iscsi.pdu.TextKeys;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** A TCP relay to a target, PDU by PDU, in which a test may change what passes. */
final class PduRelay implements AutoCloseable {
  /** What becomes of the PDUs of one side. */
  interface Change {
    /**
     * @param pdu header, data and padding; digests are not understood
     * @return what passes instead
     */
    byte[] of(byte[] pdu) throws IOException;
  }

  private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  private final int target;
  private final Change ofInitiator;
  private final Change ofTarget;
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();

  /**
   * @param target its port
   */
  PduRelay(int target, Change ofInitiator, Change ofTarget) throws IOException {
    this.target = target;
    this.ofInitiator = ofInitiator;
    this.ofTarget = ofTarget;
    Thread.ofVirtual().start(this::accept);
  }

  int port() {
    return listener.getLocalPort();
  }

  /** RFC 7143 section 11.2.1.2, without the bit for immediate delivery. */
  static int operation(byte[] pdu) {
    return pdu[0] & 0x3F;
  }

  static int dataLength(byte[] pdu) {
    return HeaderReader.dataLength(ByteBuffer.wrap(pdu));
  }

  /** Sets those keys of a login's text that are there. */
  static byte[] withText(byte[] pdu, TextKeys wanted) throws ProtocolException {
    TextKeys keys = TextKeys.parse(ByteBuffer.wrap(pdu, Headers.LENGTH, dataLength(pdu)).slice());
    wanted
        .asMap()
        .forEach((key, value) -> {
          if (keys.get(key).isPresent()) {
            keys.set(key, value);
          }
        });
    byte[] text = keys.toBytes();
    byte[] changed = Arrays.copyOf(pdu, Headers.LENGTH);
    ByteBuffer.wrap(changed).putInt(4, text.length);
    byte[] whole = Arrays.copyOf(changed, Headers.LENGTH + (text.length + 3 & ~3));
    System.arraycopy(text, 0, whole, Headers.LENGTH, text.length);
    return whole;
  }

  private void accept() {
    try {
      while (true) {
        Socket client = listener.accept();
        Socket upstream = new Socket(InetAddress.getLoopbackAddress(), target);
        sockets.addAll(List.of(client, upstream));
        Thread.ofVirtual().start(() -> copy(client, upstream, ofInitiator));
        Thread.ofVirtual().start(() -> copy(upstream, client, ofTarget));
      }
    } catch (IOException e) {
      // Closed.
    }
  }

  private static void copy(Socket from, Socket to, Change change) {
    try (from;
        to) {
      from.setTcpNoDelay(true);
      InputStream in = from.getInputStream();
      while (true) {
        byte[] header = in.readNBytes(Headers.LENGTH);
        if (header.length < Headers.LENGTH) {
          return;
        }
        byte[] pdu = Arrays.copyOf(header, Headers.LENGTH + (dataLength(header) + 3 & ~3));
        in.readNBytes(pdu, Headers.LENGTH, pdu.length - Headers.LENGTH);
        to.getOutputStream().write(change.of(pdu));
      }
    } catch (IOException e) {
      // One side has gone; so has the other now.
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
    for (Socket socket : sockets) {
      socket.close();
    }
  }
}
