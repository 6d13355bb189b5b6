package io.xenferry.server.metrics;

import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Registry;
import io.xenferry.server.call.ServerContext;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Router;
import io.xenferry.spi.Hypervisor;
import java.nio.file.Path;
import java.util.Collection;
import java.util.UUID;

/** The figures of a server, from the looking to the telling. */
public final class Metrics implements AutoCloseable {
  private final Sampler sampler;
  private final RrdRoutes routes;
  private final DataSourceMessages messages;

  /** What is done now and then about the disks of guests. */
  @FunctionalInterface
  public interface DiskUse {
    /**
     * @param vms with a guest here
     */
    void note(Collection<UUID> vms) throws XenApiException;
  }

  /**
   * @param directory of the files that keep the past over a restart
   * @param host this one
   * @param disks brings what the records say of the disks of guests up to date; may block
   */
  public Metrics(
      ServerContext context, Hypervisor hypervisor, Path directory, Ref<Host> host, DiskUse disks)
      throws XenApiException {
    String uuid = context.db().snapshot().get(host, Host.UUID);
    Figures figures = new Figures(new ArchiveFiles(directory));
    LiveRecords records = new LiveRecords(context.db(), figures, context.clock(), host);
    sampler = new Sampler(hypervisor, context.db(), figures, records, disks, context.clock(), uuid);
    routes = new RrdRoutes(figures, context.db(), uuid, new AdmittedRoutes(context));
    messages = new DataSourceMessages(figures);
  }

  public void register(Registry registry) {
    messages.register(registry);
  }

  public void mount(Router router) {
    routes.mount(router);
  }

  /** Begins to look; once only, when the guests of a server before this one are taken up. */
  public void start() {
    sampler.start();
  }

  /** Ends that, and writes what there is to its files. */
  @Override
  public void close() {
    sampler.close();
  }
}
