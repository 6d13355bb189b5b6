package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.Secret;
import io.xenferry.model.VM;
import io.xenferry.model.VTPM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.db.Transaction;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The TPM of a VM as records: the VTPM, and the secret that holds what it keeps. */
public final class Vtpms {
  private Vtpms() {}

  /**
   * A VM's TPM.
   *
   * @param unique whether what is made of the VM has another one
   * @param contents see {@link TpmStates}; empty for one that has not begun
   */
  public record Tpm(boolean unique, String contents) {
    /** That of another VM that is made of this one. */
    public Tpm forCopy() {
      return unique ? new Tpm(true, "") : this;
    }
  }

  /** That of a VM, if it has one. */
  public static Optional<Tpm> of(Snapshot db, Ref<VM> vm) throws XenApiException {
    for (Ref<VTPM> vtpm : db.get(vm, VM.VTPMS)) {
      return Optional.of(new Tpm(db.get(vtpm, VTPM.IS_UNIQUE), contents(db, vtpm)));
    }
    return Optional.empty();
  }

  static String contents(Snapshot db, Ref<VTPM> vtpm) throws XenApiException {
    Ref<Secret> secret = db.get(vtpm, VTPM.CONTENTS);
    return db.row("secret", secret.opaque()).isPresent() ? db.get(secret, Secret.VALUE) : "";
  }

  /** Gives a VM one. */
  public static Ref<VTPM> create(Transaction tx, Ref<VM> vm, Tpm tpm) throws XenApiException {
    String secret = tx.create("secret", Map.of("value", Value.of(tpm.contents())));
    return new Ref<>(
        tx.create(
            "VTPM",
            Map.of(
                "VM", Value.of(vm),
                "is_unique", Value.of(tpm.unique()),
                "contents", Value.of(secret))));
  }

  static void setContents(Transaction tx, Ref<VTPM> vtpm, String contents) throws XenApiException {
    Ref<Secret> secret = tx.get(vtpm, VTPM.CONTENTS);
    if (tx.row("secret", secret.opaque()).isEmpty()) {
      tx.set(
          vtpm,
          VTPM.CONTENTS,
          new Ref<Secret>(tx.create("secret", Map.of("value", Value.of(contents)))));
    } else if (!tx.get(secret, Secret.VALUE).equals(contents)) {
      tx.set(secret, Secret.VALUE, contents);
    }
  }

  /** Removes that of a VM, with what it keeps. */
  static void delete(Transaction tx, Ref<VM> vm) throws XenApiException {
    for (Ref<VTPM> vtpm : List.copyOf(tx.get(vm, VM.VTPMS))) {
      Ref<Secret> secret = tx.get(vtpm, VTPM.CONTENTS);
      tx.delete("VTPM", vtpm.opaque());
      if (tx.row("secret", secret.opaque()).isPresent()) {
        tx.delete("secret", secret.opaque());
      }
    }
  }
}
