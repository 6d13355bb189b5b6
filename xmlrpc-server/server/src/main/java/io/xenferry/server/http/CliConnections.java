package io.xenferry.server.http;

import io.xenferry.server.call.Origin;
import io.xenferry.server.config.LimitsConfig;
import java.io.IOException;
import java.io.InputStream;

/**
 * {@code POST /cli}. {@code xe} wants no HTTP answer: after the body the connection belongs to the
 * thin CLI protocol. What is wrong with the request ends the connection without a word, as {@code
 * xe} expects.
 */
final class CliConnections extends RawConnections<byte[]> {
  private final CliService service;
  private final int maxBody;

  CliConnections(CliService service, LimitsConfig limits, HeadDeadline heads) {
    super("thin-cli", "POST /cli ", limits, heads);
    this.service = service;
    this.maxBody = limits.cliBodyBytes();
  }

  @Override
  byte[] read(Head head, InputStream in) throws IOException {
    int length;
    try {
      length = Integer.parseInt(head.headers().getOrDefault("content-length", ""));
    } catch (NumberFormatException e) {
      throw new IOException("no length, or a malformed one", e);
    }
    if (length < 0 || length > maxBody) {
      throw new IOException("a body of " + length + " bytes");
    }
    byte[] body = in.readNBytes(length);
    if (body.length < length) {
      throw new IOException("the body ends early");
    }
    return body;
  }

  @Override
  void serve(byte[] body, RawStream stream, Origin origin) throws IOException {
    service.serve(body, stream, origin);
  }
}
