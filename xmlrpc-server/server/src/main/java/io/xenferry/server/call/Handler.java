package io.xenferry.server.call;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;

/** The code of a message. May block: it runs on a virtual thread of its own. */
@FunctionalInterface
public interface Handler {
  /** Void messages answer {@link Value#VOID}. */
  Value call(Call call) throws XenApiException, InterruptedException;
}
