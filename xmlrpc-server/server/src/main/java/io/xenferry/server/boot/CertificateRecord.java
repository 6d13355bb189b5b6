package io.xenferry.server.boot;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.server.schema.Schema;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The row of the class {@code Certificate} for the server's own. */
public final class CertificateRecord {
  private CertificateRecord() {}

  /** Says what is so; a row that says it already stays the same. */
  public static void refresh(ObjectDatabase db, X509Certificate certificate)
      throws XenApiException {
    Schema schema = new Schema();
    String sha256 = fingerprint(certificate, "SHA-256");
    db.change(tx -> {
      boolean told = false;
      for (Row row : List.copyOf(tx.rows("Certificate"))) {
        if (!told && schema.text(row, "fingerprint_sha256").equals(sha256)) {
          told = true;
        } else {
          tx.delete("Certificate", row.ref()); // of a key that has been replaced
        }
      }
      if (!told) {
        Map<String, Value> fields = new LinkedHashMap<>();
        fields.put("type", Value.of("host"));
        fields.put("host", Value.of(tx.rows("host").iterator().next().ref()));
        fields.put("not_before", Value.of(certificate.getNotBefore().toInstant()));
        fields.put("not_after", Value.of(certificate.getNotAfter().toInstant()));
        fields.put("fingerprint", Value.of(sha256));
        fields.put("fingerprint_sha256", Value.of(sha256));
        fields.put("fingerprint_sha1", Value.of(fingerprint(certificate, "SHA-1")));
        tx.create("Certificate", fields);
      }
    });
  }

  /** As published servers write it: {@code AB:CD:…}. */
  private static String fingerprint(X509Certificate certificate, String algorithm) {
    try {
      byte[] digest = MessageDigest.getInstance(algorithm).digest(certificate.getEncoded());
      return HexFormat.ofDelimiter(":").formatHex(digest).toUpperCase(Locale.ROOT);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }
}
