package io.xenferry.server.plugin;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;

/** Plug-ins, and extensions, of which there are none. */
public final class PluginMessages {
  private static final String TEST = "PluginTest.";

  private final HostPlugins plugins;

  public PluginMessages(HostPlugins plugins) {
    this.plugins = plugins;
  }

  public void register(Registry r) {
    r.implement("host.call_plugin", this::callPlugin, TEST + "aPluginIsRunAndAnswers");
    r.implement("VM.call_plugin", PluginMessages::callGuest, TEST + "whatIsNotThereIsMissing");
    r.implement("host.has_extension", c -> none(c, "host"), TEST + "whatIsNotThereIsMissing");
    r.implement("pool.has_extension", c -> none(c, "pool"), TEST + "whatIsNotThereIsMissing");
  }

  private Value callPlugin(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "host", c.text(0));
    Value.Struct arguments = new Value.Struct(c.members(3));
    return Value.of(plugins.call(c.text(1), c.text(2), c.caller().ref(), arguments));
  }

  /** Guests have none that could be asked from here. */
  private static Value callGuest(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "VM", c.text(0));
    throw new XenApiException("XENAPI_MISSING_PLUGIN", c.text(1));
  }

  private static Value none(Call c, String className) throws XenApiException {
    Schema.row(c.server().db().snapshot(), className, c.text(0));
    return Value.of(false);
  }
}
