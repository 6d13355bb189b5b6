package io.xenferry.iscsi.target;

import io.xenferry.block.BlockBackend;
import io.xenferry.iscsi.IscsiUrl.Credentials;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Optional;

/**
 * One disk offered under one target name.
 *
 * @param iqn target name, unique in the service
 * @param lun 1–255: tgtd keeps 0 for itself
 * @param backing what is served
 * @param scsiId identification of VPD page 83, 1–24 letters and digits; distinct per disk
 * @param serial of VPD page 80, 1–36 characters; distinct per disk
 * @param account CHAP user and secret; a user belongs to one export
 * @param ownAccount what the target proves itself with to an initiator that asks (mutual CHAP);
 *     only beside an account, with another secret, and by the embedded service
 * @param acl who may log in
 * @param thin whether UNMAP and WRITE SAME give space back
 * @param readOnly whether writes are refused
 */
public record Export(
    String iqn,
    int lun,
    Backing backing,
    String scsiId,
    String serial,
    Optional<Credentials> account,
    Optional<Credentials> ownAccount,
    Acl acl,
    boolean thin,
    boolean readOnly) {

  /** What stands behind a logical unit. */
  public sealed interface Backing {
    /** A raw file or block device; its length is the disk's size. */
    record File(Path path) implements Backing {
      public File {
        if (!path.isAbsolute() || path.toString().contains(",")) {
          throw new IllegalArgumentException("backing file must be absolute, without comma");
        }
      }
    }

    /** Any block backend; only the embedded service can, and not beyond its own life. */
    record Device(BlockBackend device) implements Backing {}
  }

  public Export {
    if (lun < 1 || lun > 255) {
      throw new IllegalArgumentException("LUN " + lun);
    }
    if (!iqn.matches("(iqn|eui|naa)\\.[A-Za-z0-9.:_\\-]{1,219}")) {
      throw new IllegalArgumentException("not a target name: " + iqn);
    }
    if (!scsiId.matches("[A-Za-z0-9_\\-]{1,24}") || !serial.matches("[A-Za-z0-9_\\-]{1,36}")) {
      throw new IllegalArgumentException("SCSI id or serial number of impossible form");
    }
    account.ifPresent(Export::requireForm);
    ownAccount.ifPresent(own -> {
      requireForm(own);
      // RFC 7143 section 9.2.1: with one secret for both, each could answer with the other's words.
      if (account.isEmpty() || account.get().secret().equals(own.secret())) {
        throw new IllegalArgumentException("mutual CHAP needs two secrets");
      }
    });
  }

  private static void requireForm(Credentials a) {
    if (!a.user().matches("[A-Za-z0-9._\\-]{1,64}") || !a.secret().matches("[!-~]{1,128}")) {
      throw new IllegalArgumentException("CHAP user or secret of impossible form");
    }
  }

  /** An export whose target does not prove itself. */
  public Export(
      String iqn,
      int lun,
      Backing backing,
      String scsiId,
      String serial,
      Optional<Credentials> account,
      Acl acl,
      boolean thin,
      boolean readOnly) {
    this(iqn, lun, backing, scsiId, serial, account, Optional.empty(), acl, thin, readOnly);
  }

  /** The same, proving itself with this account to initiators that ask. */
  public Export withOwnAccount(Credentials own) {
    return new Export(
        iqn, lun, backing, scsiId, serial, account, Optional.of(own), acl, thin, readOnly);
  }

  /** The same disk from elsewhere. */
  public Export withBacking(Backing other) {
    return new Export(iqn, lun, other, scsiId, serial, account, ownAccount, acl, thin, readOnly);
  }

  /**
   * Checks that the export shares with none of the others what must be distinct in a service.
   *
   * @throws TargetException EXISTS
   */
  public void requireDistinct(Collection<Export> others) throws TargetException {
    for (Export other : others) {
      boolean user =
          account.isPresent()
              && account.map(Credentials::user).equals(other.account.map(Credentials::user));
      if (user || other.scsiId.equals(scsiId)) {
        throw new TargetException(
            TargetException.Kind.EXISTS,
            other.iqn + " has the same " + (user ? "CHAP user" : "SCSI id"));
      }
    }
  }
}
