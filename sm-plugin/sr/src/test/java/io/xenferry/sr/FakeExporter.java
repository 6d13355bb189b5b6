package io.xenferry.sr;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Exports that only are on the books, which outlive a restart of the mux. */
final class FakeExporter implements VdiExporter {
  static final String URL = "iscsi://user%pass@127.0.0.1/iqn/1";

  final List<String> calls = new ArrayList<>();
  boolean fails;
  boolean closingFails;
  private final Set<String> open = new HashSet<>();

  @Override
  public String open(Path image, long size, String tag) throws IOException {
    calls.add("open " + tag + " " + size);
    if (fails) {
      throw new IOException("no target");
    }
    open.add(tag);
    return URL;
  }

  @Override
  public void close(String tag) throws IOException {
    calls.add("close " + tag);
    if (closingFails) {
      throw new IOException("sessions do not end");
    }
    open.remove(tag);
  }

  @Override
  public boolean isOpen(String tag) {
    return open.contains(tag);
  }
}
