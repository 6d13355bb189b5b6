package io.xenferry.server.routes;

import io.xenferry.model.DataModel;
import io.xenferry.model.Type;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.Router;
import io.xenferry.server.schema.Coercion;
import java.io.IOException;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Semaphore;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamConstants;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;
import org.eclipse.jetty.http.HttpStatus;

/**
 * {@code PUT /messages}: the messages about an object that comes from another pool, {@code cls} and
 * {@code uuid}. They keep their times and their references, and those that are here already stay as
 * they are. The body is one {@code <message>} after the other.
 */
public final class MessageRoutes {
  private static final String PATH = "/messages";

  /** Of one request: some ten thousand messages. */
  private static final int LIMIT = 8 << 20;

  private static final Duration DEADLINE = Duration.ofMinutes(2);

  /** Bodies in memory. */
  private static final int AT_ONCE = 4;

  /** Classes of objects by the words of the enumeration; the others are named like theirs. */
  private static final Map<String, String> CLASSES = Map.of("Host", "host", "Pool", "pool");

  private final Alerts alerts;
  private final ObjectDatabase database;
  private final AdmittedRoutes routes;
  private final Semaphore readers = new Semaphore(AT_ONCE);
  private final XMLInputFactory xml = XMLInputFactory.newFactory();

  public MessageRoutes(Alerts alerts, ObjectDatabase database, AdmittedRoutes routes) {
    this.alerts = alerts;
    this.database = database;
    this.routes = routes;
    xml.setProperty(XMLInputFactory.SUPPORT_DTD, false);
    xml.setProperty(XMLInputFactory.IS_SUPPORTING_EXTERNAL_ENTITIES, false);
    xml.setProperty(XMLInputFactory.IS_COALESCING, true);
  }

  public void mount(Router router) {
    router.route("PUT", PATH, routes.handler(PATH, "put_messages", this::receive));
  }

  private void receive(AdmittedRoutes.Exchange exchange) {
    Optional<String> of = Optional.ofNullable(exchange.value("cls"));
    Optional<String> object = Optional.ofNullable(exchange.value("uuid"));
    if (of.isEmpty() || object.isEmpty()) {
      Answers.error(
          exchange.response(),
          exchange.callback(),
          HttpStatus.BAD_REQUEST_400,
          "cls and uuid must name the object.");
      return;
    }
    if (!isClass(of.get())
        || database
            .snapshot()
            .byUuid(CLASSES.getOrDefault(of.get(), of.get()), object.get())
            .isEmpty()) {
      exchange.refuse(
          HttpStatus.NOT_FOUND_404, new XenApiException("UUID_INVALID", of.get(), object.get()));
      return;
    }
    if (!readers.tryAcquire()) {
      exchange.refuse(HttpStatus.SERVICE_UNAVAILABLE_503, new XenApiException("TOO_BUSY"));
      return;
    }
    try {
      byte[] body = Answers.body(exchange.request(), LIMIT, DEADLINE);
      List<Alerts.Foreign> messages = read(body, of.get(), object.get());
      for (Alerts.Foreign message : messages) {
        alerts.take(message, of.get(), object.get());
      }
    } catch (Answers.TooLarge e) {
      exchange.refuse(
          HttpStatus.PAYLOAD_TOO_LARGE_413,
          new XenApiException("VALUE_NOT_SUPPORTED", "size", "", "at most " + LIMIT + " bytes"));
      return;
    } catch (IOException e) {
      exchange.refuse(Answers.unreadable(e), new XenApiException("INTERNAL_ERROR", "not read"));
      return;
    } catch (XMLStreamException e) {
      exchange.refuse(
          HttpStatus.BAD_REQUEST_400,
          new XenApiException("INVALID_VALUE", "messages", "malformed XML"));
      return;
    } catch (XenApiException e) {
      boolean wrong = e.code().equals("INVALID_VALUE");
      exchange.refuse(wrong ? HttpStatus.BAD_REQUEST_400 : HttpStatus.INTERNAL_SERVER_ERROR_500, e);
      return;
    } finally {
      readers.release();
    }
    Answers.bytes(
        exchange.response(), exchange.callback(), HttpStatus.OK_200, "text/plain", new byte[0]);
  }

  private static boolean isClass(String word) {
    return DataModel.words("cls").contains(word);
  }

  /** Documents without anything between them are no document: their prologues go. */
  private List<Alerts.Foreign> read(byte[] body, String of, String object)
      throws XMLStreamException, XenApiException {
    String text = new String(body, StandardCharsets.UTF_8).replaceAll("<\\?xml[^>]{0,200}\\?>", "");
    XMLStreamReader in =
        xml.createXMLStreamReader(new StringReader("<messages>" + text + "</messages>"));
    List<Alerts.Foreign> messages = new ArrayList<>();
    Map<String, String> fields = new HashMap<>();
    int depth = 0;
    String name = "";
    while (in.hasNext()) {
      switch (in.next()) {
        case XMLStreamConstants.START_ELEMENT -> {
          depth++;
          name = in.getLocalName();
          if (depth > 3 || depth == 2 && !name.equals("message")) {
            throw new XenApiException("INVALID_VALUE", "messages", name);
          }
          if (depth == 2) {
            fields.clear();
          } else if (depth == 3) {
            fields.put(name, "");
          }
        }
        case XMLStreamConstants.CHARACTERS, XMLStreamConstants.CDATA -> {
          if (depth == 3) {
            fields.put(name, in.getText());
          }
        }
        case XMLStreamConstants.END_ELEMENT -> {
          if (depth == 2) {
            messages.add(message(fields, of, object));
          }
          depth--;
        }
        default -> {}
      }
    }
    return messages;
  }

  private static Alerts.Foreign message(Map<String, String> fields, String of, String object)
      throws XenApiException {
    require("cls", of, fields);
    require("obj_uuid", object, fields);
    String uuid = uuid("uuid", field(fields, "uuid"));
    String ref = field(fields, "ref");
    if (!ref.startsWith("OpaqueRef:")) {
      throw new XenApiException("INVALID_VALUE", "ref", ref);
    }
    return new Alerts.Foreign(
        "OpaqueRef:" + uuid("ref", ref.substring("OpaqueRef:".length())),
        uuid,
        field(fields, "name"),
        ((Value.Int)
                Coercion.coerce("priority", Type.Basic.INT, Value.of(field(fields, "priority"))))
            .value(),
        time(fields),
        fields.getOrDefault("body", ""));
  }

  private static Instant time(Map<String, String> fields) throws XenApiException {
    Value text = Value.of(field(fields, "timestamp"));
    return ((Value.Time) Coercion.coerce("timestamp", Type.Basic.DATETIME, text)).instant();
  }

  private static void require(String name, String wanted, Map<String, String> fields)
      throws XenApiException {
    if (!field(fields, name).equals(wanted)) {
      throw new XenApiException("INVALID_VALUE", name, field(fields, name));
    }
  }

  private static String field(Map<String, String> fields, String name) throws XenApiException {
    String value = fields.get(name);
    if (value == null) {
      throw new XenApiException("INVALID_VALUE", name, "missing");
    }
    return value;
  }

  /** It becomes the name of a file. */
  private static String uuid(String name, String text) throws XenApiException {
    try {
      if (UUID.fromString(text).toString().equals(text)) {
        return text;
      }
    } catch (IllegalArgumentException e) {
      // as one that is written otherwise
    }
    throw new XenApiException("INVALID_VALUE", name, text);
  }
}
