package io.xenferry.server.call;

import io.xenferry.model.XenApiException;
import io.xenferry.wire.Content;

/** The code of a message whose answer may be large: it is produced while it is written. */
@FunctionalInterface
public interface StreamHandler {
  Content call(Call call) throws XenApiException, InterruptedException;
}
