package io.xenferry.iscsi.target;

import java.io.IOException;
import java.util.List;

/**
 * Which exports ought to be open, durably. A service writes here before each effect: OPEN before it
 * creates a target, CLOSED before it takes one away. The watchdog re-creates what is open here and
 * nothing else. Calls come one at a time.
 */
public interface ExportJournal {

  /** The export is OPEN once this returns, even after a loss of power. */
  void opened(Export export) throws IOException;

  /** The export is CLOSED once this returns, even after a loss of power; idempotent. */
  void closed(String iqn) throws IOException;

  /** All that are OPEN. */
  List<Export> open() throws IOException;
}
