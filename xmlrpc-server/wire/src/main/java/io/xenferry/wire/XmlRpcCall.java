package io.xenferry.wire;

import io.xenferry.model.Value;
import java.util.List;

/** A call as it came in. */
public record XmlRpcCall(String method, List<Value> params) {
  public XmlRpcCall {
    params = List.copyOf(params);
  }
}
