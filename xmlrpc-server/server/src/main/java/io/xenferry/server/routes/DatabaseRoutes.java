package io.xenferry.server.routes;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Type;
import io.xenferry.model.Types;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Router;
import java.io.IOException;
import java.io.OutputStream;
import java.util.concurrent.Semaphore;
import javax.xml.stream.XMLOutputFactory;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamWriter;
import org.eclipse.jetty.http.HttpStatus;

/**
 * {@code GET /pool/xmldbdump}: all rows as they are at one instant, in the XML of published
 * servers: a table a class, an attribute a field. Sessions are left out, whose references are
 * secrets, and what this server notes for itself. Putting one in place of the database is refused.
 */
public final class DatabaseRoutes {
  private static final String PATH = "/pool/xmldbdump";

  /** Each is written row by row, and keeps its instant alive. */
  private static final int AT_ONCE = 2;

  private final ObjectDatabase database;
  private final AdmittedRoutes routes;
  private final Semaphore writers = new Semaphore(AT_ONCE);

  public DatabaseRoutes(ObjectDatabase database, AdmittedRoutes routes) {
    this.database = database;
    this.routes = routes;
  }

  public void mount(Router router) {
    router.route("GET", PATH, routes.handler(PATH, "get_pool_xml_db_sync", this::send));
  }

  private void send(AdmittedRoutes.Exchange exchange) {
    if (!writers.tryAcquire()) {
      exchange.refuse(HttpStatus.SERVICE_UNAVAILABLE_503, new XenApiException("TOO_BUSY"));
      return;
    }
    try {
      exchange.stream("text/xml", out -> write(database.snapshot(), out, exchange));
    } finally {
      writers.release();
    }
  }

  private static void write(Snapshot now, OutputStream out, AdmittedRoutes.Exchange exchange)
      throws IOException {
    try {
      XMLStreamWriter xml = XMLOutputFactory.newFactory().createXMLStreamWriter(out, "UTF-8");
      xml.writeStartDocument("UTF-8", "1.0");
      xml.writeStartElement("database");
      xml.writeStartElement("manifest");
      pair(xml, "schema_major_vsn", "5");
      pair(xml, "schema_minor_vsn", "909");
      pair(xml, "generation_count", Long.toString(now.generation()));
      xml.writeEndElement();
      for (ClassDef type : DataModel.classes()) {
        if (type.inDatabase() && !type.name().equals("session")) {
          xml.writeStartElement("table");
          xml.writeAttribute("name", type.name());
          for (Row row : now.rows(type.name())) {
            write(xml, type, row);
            exchange.requireTime();
          }
          xml.writeEndElement();
        }
      }
      xml.writeEndElement();
      xml.writeEndDocument();
      xml.flush();
    } catch (XMLStreamException e) {
      throw new IOException(e);
    }
  }

  private static void pair(XMLStreamWriter xml, String key, String value)
      throws XMLStreamException {
    xml.writeEmptyElement("pair");
    xml.writeAttribute("key", key);
    xml.writeAttribute("value", value);
  }

  private static void write(XMLStreamWriter xml, ClassDef type, Row row) throws XMLStreamException {
    xml.writeEmptyElement("row");
    xml.writeAttribute("ref", row.ref());
    for (FieldDef field : type.fields()) {
      if (!field.internal()) {
        xml.writeAttribute(field.column(), protect(text(field, row)));
      }
    }
  }

  private static String text(FieldDef field, Row row) {
    boolean secret = field.type() instanceof Type.RefTo(String to) && to.equals("session");
    return secret ? Ref.nullRef().opaque() : Types.databaseText(row.get(field));
  }

  /**
   * White space, which attributes do not keep, as published servers write it; no other controls.
   */
  private static String protect(String text) {
    return text.replace("%", "%%")
        .replace(" ", "%.")
        .replace("\t", "%t")
        .replace("\n", "%n")
        .replace("\r", "%r")
        .replaceAll("[\\x00-\\x1f\\ufffe\\uffff]", "");
  }
}
