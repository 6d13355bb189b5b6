package io.xenferry.spi;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.List;

/**
 * Somebody who carries out XenAPI calls: this server in process, or another one over the network.
 * The caller passes the session as the first parameter where the call takes one.
 */
public interface XenApi {
  /**
   * Calls and waits for the answer.
   *
   * @param method {@code Class.message} or {@code Async.Class.message}
   * @throws XenApiException what the server answered, or CANNOT_CONTACT_HOST, TLS_CONNECTION_FAILED
   *     when it could not be reached
   */
  Value call(String method, List<Value> params) throws XenApiException;

  default Value call(String method, Value... params) throws XenApiException {
    return call(method, List.of(params));
  }
}
