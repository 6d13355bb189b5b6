package io.xenferry.migration.preflight;

import io.xenferry.migration.state.Role;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Everything that can stand against a move before it begins: the XenAPI code by which clients know
 * it, a sentence about it, what to do about it, and which side sees it. docs/preflight.md is made
 * of this table.
 *
 * <p>In a sentence {@code {0}} is the code's first parameter, and so on.
 */
public enum ObstacleKind {
  // What the source's own records say of the VM.
  VM_BLOCKED(
      Seen.SOURCE,
      "OPERATION_BLOCKED",
      "Moving the VM is blocked: {1}",
      "Remove the operation from the VM's blocked_operations."),
  VM_OF_A_MIGRATION(
      Seen.SOURCE,
      "OPERATION_NOT_ALLOWED",
      "{0}",
      "Wait until the migration that brings the VM has ended (xe migration-list)."),
  CONTROL_DOMAIN(
      Seen.SOURCE, "OPERATION_NOT_ALLOWED", "{0}", "A control domain stays on its host."),
  VM_POWER_STATE(
      Seen.SOURCE,
      "VM_BAD_POWER_STATE",
      "The VM is {2}, and can be moved when it is: {1}",
      "Bring the VM into one of these states, as with xe vm-unpause."),
  VM_BUSY(
      Seen.BOTH,
      "OTHER_OPERATION_IN_PROGRESS",
      "Something else is going on with the VM: {2}",
      "Wait until that has ended, or cancel it (xe task-list, xe migration-list); a move whose other"
          + " host is lost for good ends by xe migration-release."),
  VM_SNAPSHOT(
      Seen.SOURCE,
      "VM_IS_SNAPSHOT",
      "It is a snapshot.",
      "Move the VM of which it was taken: its snapshots go with it."),
  VM_TEMPLATE(
      Seen.SOURCE,
      "VM_IS_TEMPLATE",
      "It is a default template.",
      "Make a VM of it (xe vm-install), and move that."),
  VM_CHECKPOINT(
      Seen.SOURCE,
      "VM_HAS_CHECKPOINT",
      "The VM has a snapshot with memory, which would be left behind.",
      "Destroy its checkpoints, or copy the halted VM with copy=true."),
  VM_NOT_HALTED_FOR_COPY(
      Seen.SOURCE,
      "VM_BAD_POWER_STATE",
      "The VM is {2}, and can be copied when it is: {1}",
      "Shut the VM down first; a suspended one is copied with force=true."),
  VM_IMMOBILE(
      Seen.SOURCE,
      "VM_IS_IMMOBILE",
      "The VM runs, and its platform says nomigrate or nested-virt.",
      "Shut the VM down first, or remove that key from platform before its next start."),
  VM_WITH_USB(
      Seen.SOURCE,
      "VM_HAS_VUSBS",
      "The VM runs, and has a USB device of its host.",
      "Take the device from it, or shut the VM down first."),
  VM_WITH_GPU(
      Seen.SOURCE, "VM_HAS_VGPU", "The VM runs, and has a virtual GPU.", "Shut the VM down first."),
  VM_WITH_PCI(
      Seen.SOURCE,
      "VM_HAS_PCI_ATTACHED",
      "The VM runs, and has a PCI device of its host.",
      "Shut the VM down first."),
  VM_WITHOUT_MEMORY(
      Seen.SOURCE,
      "VM_HAS_NO_SUSPEND_VDI",
      "The VM is suspended, and the disk with its memory is gone.",
      "Shut the VM down by force; then it moves as a halted one."),
  SUSPEND_IMAGE(
      Seen.SOURCE,
      "SUSPEND_IMAGE_NOT_ACCESSIBLE",
      "The disk with the suspended VM's memory cannot be read.",
      "Attach its SR (xe pbd-plug), and end what else uses the disk."),
  BAD_OPTION(
      Seen.BOTH,
      "INVALID_VALUE",
      "{0} cannot be had as asked for: {1}",
      "Correct or leave out this option; a default may stand in other_config of VM or pool."),

  // What the client maps where.
  DISK_WITHOUT_SR(
      Seen.SOURCE,
      "VDI_NOT_IN_MAP",
      "No SR at the destination was named for a disk.",
      "Name one for each disk: vdi:VDI=SR, or destination-sr-uuid=SR."),
  VIF_WITHOUT_NETWORK(
      Seen.SOURCE,
      "VIF_NOT_IN_MAP",
      "No network at the destination was named for a network interface.",
      "Name one for each, also those of snapshots: vif:VIF=NETWORK."),
  VIFS_WITHIN_POOL(
      Seen.SOURCE, "OPERATION_NOT_ALLOWED", "{0}", "Leave out vif: for a move within one pool."),
  COPY_WITHIN_POOL(Seen.SOURCE, "OPERATION_NOT_ALLOWED", "{0}", "Use xe vm-copy."),
  BAD_FORMAT(
      Seen.SOURCE,
      "INVALID_VALUE",
      "{1} is not how a disk can be stored.",
      "Name one of the formats of the destination's SR, or none."),

  // What the source's storage and hypervisor say.
  DISKS_TOO_MANY(
      Seen.SOURCE,
      "OPERATION_NOT_ALLOWED",
      "{0}",
      "Destroy snapshots that nobody needs, or detach disks."),
  DISK_SHARED(
      Seen.SOURCE,
      "VDI_IN_USE",
      "A disk of the VM is used by something else as well.",
      "Detach the disk from other VMs, or wait until a copy of it has ended."),
  STRATEGY(
      Seen.SOURCE,
      "OPERATION_NOT_ALLOWED",
      "{0}",
      "Choose another strategy=, or move the VM halted or suspended."),
  SOURCE_SR_DETACHED(
      Seen.SOURCE,
      "SR_NOT_ATTACHED",
      "An SR with a disk of the VM is not attached to its host.",
      "Attach it: xe pbd-plug."),
  SOURCE_SR_FULL(
      Seen.SOURCE,
      "SR_SOURCE_SPACE_INSUFFICIENT",
      "The SR of a disk has no room for what the VM writes while the disk is copied by snapshots.",
      "Make room in that SR, or choose another strategy=, or shut the VM down first."),
  DISK_OF_NO_VM(
      Seen.SOURCE,
      "VDI_NEEDS_VM_FOR_MIGRATE",
      "The disk belongs to no VM.",
      "Use xe vdi-copy for a disk that no VM has."),
  DISK_TYPE(
      Seen.SOURCE,
      "VDI_INCOMPATIBLE_TYPE",
      "A disk is of a type that does not move: {1}",
      "Leave the disk where it is."),
  DISK_TRACKED(
      Seen.SOURCE,
      "VDI_CBT_ENABLED",
      "The changed blocks of a disk are tracked, which a move within the pool would lose.",
      "Turn it off first: xe vdi-disable-cbt."),
  TARGET_SR_UNKNOWN(
      Seen.BOTH,
      "HANDLE_INVALID",
      "The SR that was chosen for a disk is not there: {1}",
      "Choose an SR of the destination."),

  // Whether the two servers can talk at all.
  FOREIGN_DESTINATION(
      Seen.SOURCE,
      "VM_MIGRATE_FAILED",
      "{3}",
      "Move to a XenFerry server; to others a halted VM goes by export and import."),
  NOT_A_TOKEN(
      Seen.SOURCE, "VM_MIGRATE_FAILED", "{3}", "Ask the destination anew: host.migrate_receive."),
  TOKEN_EXPIRED(
      Seen.BOTH,
      "VM_MIGRATE_FAILED",
      "{3}",
      "Ask the destination for another token; if this one is new, set the clocks of both hosts."),
  TOKEN_USED(
      Seen.DESTINATION,
      "VM_MIGRATE_FAILED",
      "{3}",
      "A token is for one move: ask the destination for another one."),
  VERSION(
      Seen.BOTH,
      "VM_MIGRATE_FAILED",
      "{3}",
      "Bring both servers to versions that understand each other."),
  DESTINATION_LOST_ITS_LEDGER(
      Seen.SOURCE,
      "VM_MIGRATE_FAILED",
      "{3}",
      "Ask the destination for another token, once it is known why its ledger is another one."),
  SOURCE_NOT_READY(
      Seen.SOURCE,
      "OPERATION_NOT_ALLOWED",
      "{0}",
      "Wait until the server is up; after a lost ledger: xe migration-accept-restored-ledger."),
  DESTINATION_NOT_READY(
      Seen.DESTINATION,
      "HOST_STILL_BOOTING",
      "The destination has not taken up its ledger yet.",
      "Wait until its server is up; after a lost ledger: xe migration-accept-restored-ledger there."),
  DESTINATION_UNREACHABLE(
      Seen.SOURCE,
      "CANNOT_CONTACT_HOST",
      "Twice the destination did not answer at {0}, which is its address on the chosen network.",
      "Check routes and firewalls, or choose another network there: remote-network=."),
  DESTINATION_CERTIFICATE(
      Seen.SOURCE,
      "TLS_CONNECTION_FAILED",
      "At {0}, port {1}, somebody answers without the certificate that the token names.",
      "Find out who that is; after a change of the certificate ask for another token."),
  DESTINATION_BABBLES(
      Seen.SOURCE,
      "VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED",
      "What answers at the destination's address is no XenFerry server.",
      "Check the address; a proxy between the two servers must let them talk to each other."),

  DESTINATION_IN_VM(
      Seen.SOURCE,
      "OPERATION_NOT_ALLOWED",
      "{0}",
      "A VM cannot move to a server that runs within it; force=true says that the address is"
          + " another machine's."),
  CLOCKS_DIFFER(
      Seen.WARNING,
      "",
      "The clocks of the two hosts differ by {0} seconds: tokens expire by them.",
      "Set the clocks, as with NTP."),
  CALLER_IN_VM(
      Seen.WARNING,
      "",
      "Who asks does so from within the VM, at {0}: the connection may break as the VM moves.",
      "Ask from elsewhere, or as a task: the move goes on without its client."),

  // What the destination says.
  TARGET_SR_DETACHED(
      Seen.BOTH,
      "SR_NOT_ATTACHED",
      "The SR that was chosen for a disk is not attached to the destination host.",
      "Attach it there (xe pbd-plug), or choose another one."),
  TARGET_SR_UNABLE(
      Seen.BOTH,
      "SR_DOES_NOT_SUPPORT_MIGRATION",
      "No disk can be made in the SR that was chosen for one, as in one of CDs.",
      "Choose another SR, by vdi: or destination-sr-uuid=."),
  TARGET_SR_FULL(
      Seen.BOTH,
      "SR_FULL",
      "{0} bytes would come to an SR that has {1} bytes free.",
      "Make room there, or choose another SR for some of the disks."),
  TARGET_SR_FORMAT(
      Seen.BOTH,
      "VDI_INCOMPATIBLE_TYPE",
      "A disk cannot be made as it is to be: {1}",
      "Name another image-format: for it, or none, or choose another SR."),
  TRANSPORT(
      Seen.DESTINATION, "VM_MIGRATE_FAILED", "{3}", "Choose another transport=: iscsi or nbds."),
  DOCUMENT(
      Seen.DESTINATION,
      "IMPORT_ERROR_GENERIC",
      "The destination does not understand the VM's records: {0}",
      "Bring both servers to versions that understand each other."),
  HOST_DISABLED(
      Seen.BOTH,
      "HOST_DISABLED",
      "The destination host is disabled.",
      "Enable it: xe host-enable."),
  HOST_ELSEWHERE(
      Seen.SOURCE,
      "HOST_NOT_LIVE",
      "That host does not have the VM, and no other one is in this pool.",
      "Name the VM's own host, or another pool: remote-master=."),
  PROCESSORS(
      Seen.DESTINATION,
      "HOST_NOT_ENOUGH_PCPUS",
      "The VM may have {0} processors, and the destination host has {1}.",
      "Lower VCPUs_max of the halted VM, or set platform:vcpu-unrestricted=true."),
  NETWORK_UNKNOWN(
      Seen.DESTINATION,
      "HANDLE_INVALID",
      "The network that was chosen is not at the destination: {1}",
      "Choose a network of the destination: vif:VIF=NETWORK."),
  VM_THERE_ALREADY(
      Seen.DESTINATION,
      "DUPLICATE_VM",
      "The destination has a VM or snapshot of this uuid already: {0}",
      "Find out which of them is wanted, and destroy the other; or copy with copy=true."),
  WARM_FIRMWARE(
      Seen.SOURCE,
      "OPERATION_NOT_ALLOWED",
      "{0}",
      "Move the VM halted, or live where the processors allow that."),
  PROCESSOR_FEATURES(
      Seen.DESTINATION,
      "VM_INCOMPATIBLE_WITH_THIS_HOST",
      "The guest would not find its processor as it knows it: {2}",
      "Move the VM with a reboot (mode=warm), or halted, or take the risk with force=true."),
  BOOT_FILES(
      Seen.DESTINATION,
      "BOOTLOADER_FAILED",
      "The destination has not what the VM was started with: {1}",
      "Install that there, or move the VM halted."),
  TPM(
      Seen.DESTINATION,
      "VM_INCOMPATIBLE_WITH_THIS_HOST",
      "The destination cannot go on with the VM's TPM: {2}",
      "Install swtpm there, or move the VM halted."),
  MEMORY(
      Seen.DESTINATION,
      "HOST_NOT_ENOUGH_FREE_MEMORY",
      "The VM has {0} bytes of memory, and the destination host has {1} bytes free.",
      "Shut down or move other VMs there, or move this one halted."),

  /** Whatever a driver, a database or a newer peer says, under its own code. */
  OTHER(Seen.BOTH, "", "{0}", "Look at the logs of both servers.");

  private static final Pattern PLACE = Pattern.compile("\\{([0-9])}");

  private final Seen seen;
  private final String code;
  private final String sentence;
  private final String remedy;

  private enum Seen {
    SOURCE(EnumSet.of(Role.SOURCE)),
    DESTINATION(EnumSet.of(Role.DESTINATION)),
    BOTH(EnumSet.allOf(Role.class)),
    /** Seen by the source, and no reason to stay. */
    WARNING(EnumSet.of(Role.SOURCE));

    private final Set<Role> roles;

    Seen(Set<Role> roles) {
      this.roles = roles;
    }
  }

  ObstacleKind(Seen seen, String code, String sentence, String remedy) {
    this.seen = seen;
    this.code = code;
    this.sentence = sentence;
    this.remedy = remedy;
  }

  /** XenAPI's; empty for warnings, and for {@link #OTHER}, which has any. */
  public String code() {
    return code;
  }

  /** With places for parameters. */
  public String sentence() {
    return sentence;
  }

  /** With the code's parameters in their places. */
  String sentence(List<String> params) {
    return PLACE
        .matcher(sentence)
        .replaceAll(place -> {
          int index = Integer.parseInt(place.group(1));
          return Matcher.quoteReplacement(index < params.size() ? params.get(index) : "?");
        });
  }

  /** What an operator may do about it. */
  public String remedy() {
    return remedy;
  }

  /** Whether the move does not begin; otherwise it is a warning, and no move fails with it. */
  public boolean blocks() {
    return seen != Seen.WARNING;
  }

  public boolean seenBy(Role side) {
    return seen.roles.contains(side);
  }

  /** {@link #OTHER} for a name that is not in the table. */
  public static ObstacleKind named(String name) {
    return Arrays.stream(values())
        .filter(kind -> kind.name().equals(name))
        .findFirst()
        .orElse(OTHER);
  }

  /** What one of the given kinds means by a code; {@link #OTHER} when none has it. */
  static ObstacleKind among(String code, ObstacleKind... kinds) {
    return Arrays.stream(kinds)
        .filter(kind -> kind.blocks() && kind.code.equals(code))
        .findFirst()
        .orElse(OTHER);
  }

  /** What a side means by a code when it says no more: the only kind that it has with the code. */
  static ObstacleKind only(String code, Role side) {
    List<ObstacleKind> kinds =
        Arrays.stream(values())
            .filter(kind -> kind.code.equals(code) && kind.seenBy(side))
            .toList();
    return kinds.size() == 1 ? kinds.getFirst() : OTHER;
  }
}
