package io.xenferry.server.migration;

import io.xenferry.copy.DestinationOpener;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.IscsiOptions;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.storage.NbdsUrl;
import io.xenferry.server.storage.Transport;
import java.util.List;
import java.util.Map;

/** The transports that this host can send disks by. */
final class DiskCarriers {
  private final Map<Transport, DiskCarrier> carriers;

  DiskCarriers(Map<Transport, DiskCarrier> carriers) {
    this.carriers = Map.copyOf(carriers);
  }

  /** All there are, with this server's certificate for those that ask who comes. */
  static DiskCarriers of(IscsiOptions iscsi, Certificate certificate) {
    return new DiskCarriers(
        Map.of(
            Transport.ISCSI,
            (target, migration) ->
                new IscsiDestination(
                    IscsiUrl.parse(target.url()),
                    iscsi.withInitiatorName(DestinationStorage.initiator(migration))),
            Transport.NBDS,
            (target, migration) -> new NbdsDestination(NbdsUrl.parse(target.url()), certificate)));
  }

  /**
   * How to open a disk of a plan.
   *
   * @throws MigrationException VM_MIGRATE_FAILED when the destination offers it by another
   *     transport than the plan chose, which is what servers do that do not know it
   */
  DestinationOpener opener(Plan plan, DiskTarget target, MigrationId migration) {
    Transport wanted =
        Transport.chosen(plan.options())
            .orElseThrow(() ->
                failed(plan, "transport " + plan.options().get(Transport.OPTION) + " is unknown"));
    DiskCarrier carrier = carriers.get(wanted);
    if (carrier == null || !wanted.carries(target.url())) {
      throw failed(plan, "the destination does not offer its disks by " + wanted.word());
    }
    try {
      return carrier.to(target, migration);
    } catch (IllegalArgumentException e) {
      // Its message may repeat the URL, which has secrets.
      throw failed(plan, "the destination's " + wanted.word() + " URL makes no sense");
    }
  }

  static MigrationException failed(Plan plan, String sentence) {
    return new MigrationException(
        "VM_MIGRATE_FAILED", List.of(plan.vm().toString(), sentence), sentence);
  }
}
