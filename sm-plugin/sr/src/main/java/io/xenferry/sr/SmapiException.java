package io.xenferry.sr;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.List;

/** A failure as SMAPIv2 words it: the name of an error, and its parameters. */
public final class SmapiException extends Exception {
  private static final long serialVersionUID = 1L;

  /** The {@link #error} that a VDI is not in its SR. */
  public static final String VDI_DOES_NOT_EXIST = "Vdi_does_not_exist";

  private final String error;
  private final transient List<Value> args;

  public SmapiException(String error, List<Value> args) {
    super(error + args);
    this.error = error;
    this.args = List.copyOf(args);
  }

  private SmapiException(String error, Value... args) {
    this(error, List.of(args));
  }

  /** SR_BACKEND_FAILURE_n, with the sentence in the place where clients look for it. */
  public static SmapiException failure(SmError number, String sentence) {
    return backend(number.code(), List.of("", sentence, ""));
  }

  /** Any code of the data model. */
  public static SmapiException backend(String code, List<String> params) {
    return new SmapiException("Backend_error", Value.of(code), Value.ofTexts(params));
  }

  public static SmapiException srNotAttached(String sr) {
    return new SmapiException("Sr_not_attached", Value.of(sr));
  }

  public static SmapiException noPlugin(String sr) {
    return new SmapiException("No_storage_plugin_for_sr", Value.of(sr));
  }

  public static SmapiException vdiDoesNotExist(String sr, String vdi) {
    return new SmapiException(VDI_DOES_NOT_EXIST, Value.of(sr), Value.of(vdi));
  }

  public static SmapiException illegalTransition(DatapathState from, DatapathState to) {
    return new SmapiException("Illegal_transition", from.toValue(), to.toValue());
  }

  public static SmapiException doesNotExist(String kind, String id) {
    return new SmapiException("Does_not_exist", Value.of(kind), Value.of(id));
  }

  public static SmapiException cancelled(String id) {
    return new SmapiException("Cancelled", Value.of(id));
  }

  public static SmapiException unimplemented(String call) {
    return new SmapiException("Unimplemented", Value.of(call));
  }

  public static SmapiException missingParameter(String name) {
    return new SmapiException("Missing_configuration_parameter", Value.of(name));
  }

  public static SmapiException internal(String what) {
    return new SmapiException("Internal_error", Value.of(what));
  }

  public SmapiException withCause(Throwable cause) {
    initCause(cause);
    return this;
  }

  /** The name of the error, for example {@code Vdi_does_not_exist}. */
  public String error() {
    return error;
  }

  public List<Value> args() {
    return args;
  }

  /** The variant as it goes over the wire. */
  public Value toValue() {
    if (args.isEmpty()) {
      return Value.of(error);
    }
    Value payload = args.size() == 1 ? args.getFirst() : new Value.Array(args);
    return new Value.Array(List.of(Value.of(error), payload));
  }

  /** The failure as XenAPI clients get it, where it is about no disk that they know. */
  public XenApiException toXenApi() {
    return toXenApi("");
  }

  /**
   * The failure as XenAPI clients get it. Some that a driver has a number for have a code of their
   * own there, and clients wait and try again when they see it.
   *
   * @param vdi reference of the disk that it is about
   */
  public XenApiException toXenApi(String vdi) {
    if (error.equals("Backend_error")
        && args.size() == 2
        && args.get(0) instanceof Value.Text(String code)
        && args.get(1) instanceof Value.Array(List<Value> items)) {
      List<String> params = new ArrayList<>();
      for (Value item : items) {
        params.add(item instanceof Value.Text(String text) ? text : item.toString());
      }
      return named(code, params, vdi).withCause(this);
    }
    if ((error.equals("No_storage_plugin_for_sr") || error.equals("Sr_not_attached"))
        && !args.isEmpty()
        && args.getFirst() instanceof Value.Text(String sr)) {
      return new XenApiException("SR_NOT_ATTACHED", sr).withCause(this);
    }
    if (error.equals("Vdi_does_not_exist")
        && args.size() == 2
        && args.get(0) instanceof Value.Text(String sr)
        && args.get(1) instanceof Value.Text(String location)) {
      return new XenApiException("VDI_MISSING", sr, vdi.isEmpty() ? location : vdi).withCause(this);
    }
    if (error.equals("Unimplemented")
        && !args.isEmpty()
        && args.getFirst() instanceof Value.Text(String call)) {
      return new XenApiException("UNIMPLEMENTED_IN_SM_BACKEND", call).withCause(this);
    }
    return new XenApiException("INTERNAL_ERROR", String.valueOf(getMessage())).withCause(this);
  }

  private static XenApiException named(String code, List<String> params, String vdi) {
    if (code.equals(SmError.VDI_IN_USE.code())) {
      return new XenApiException("VDI_IN_USE", vdi, sentence(params));
    }
    if (code.equals(SmError.SR_IN_USE.code())) {
      return new XenApiException("SR_DEVICE_IN_USE", sentence(params));
    }
    if (code.equals(SmError.SR_NOT_EMPTY.code())) {
      return new XenApiException("SR_NOT_EMPTY", sentence(params));
    }
    return new XenApiException(code, params);
  }

  private static String sentence(List<String> params) {
    return params.size() > 1 ? params.get(1) : "";
  }
}
