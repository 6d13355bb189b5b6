package io.xenferry.xe.protocol;

import java.util.List;

/**
 * A message of the thin CLI protocol, version 0.2. The numbers on the wire are those of {@link
 * MessageCodec}.
 */
public sealed interface Message {

  /** From the server: something for the client to do. */
  sealed interface Command extends Message {}

  /** From the client: how it went. */
  sealed interface Response extends Message {}

  /** The header of bytes that travel outside of messages, in practice from client to server. */
  sealed interface Blob extends Message {}

  /** Show the text and a line feed on standard output. */
  record Print(String text) implements Command {}

  /** Send the whole content of a file. */
  record Load(String file) implements Command {}

  /** Send one line of standard input. */
  record Prompt() implements Command {}

  /** End with this status. */
  record Exit(int code) implements Command {}

  /** Fetch the url into a new file; an empty name is standard output. */
  record HttpGet(String file, String url) implements Command {}

  /** Send the file to the url. */
  record HttpPut(String file, String url) implements Command {}

  /** Show a code and its parameters on standard error. */
  record ShowError(String code, List<String> params) implements Command {
    public ShowError {
      params = List.copyOf(params);
    }
  }

  /** Show the text only when the user asked for a trace. */
  record Debug(String text) implements Command {}

  /** Show the text as it is on standard error. */
  record PrintStderr(String text) implements Command {}

  /** Connect the terminal with the console at this url. */
  record HttpConnect(String url) implements Command {}

  /** Done. */
  record Ok() implements Response {}

  /** Not done; the client told the user why. */
  record Failed() implements Response {}

  /** Still busy; any number of these may precede {@link Ok} or {@link Failed}. */
  record Wait() implements Response {}

  /** That many raw bytes follow the message. */
  record Chunk(int length) implements Blob {}

  /** No further chunk follows. */
  record End() implements Blob {}
}
