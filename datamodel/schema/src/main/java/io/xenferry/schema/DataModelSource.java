package io.xenferry.schema;

import io.xenferry.schema.xml.ActionsXml;
import io.xenferry.schema.xml.AlertsXml;
import io.xenferry.schema.xml.ClassXml;
import io.xenferry.schema.xml.EnumsXml;
import io.xenferry.schema.xml.ErrorsXml;
import io.xenferry.schema.xml.ExtensionsXml;
import io.xenferry.schema.xml.ModelXml;
import io.xenferry.schema.xml.RelationsXml;
import jakarta.xml.bind.JAXBContext;
import jakarta.xml.bind.JAXBException;
import jakarta.xml.bind.Unmarshaller;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import javax.xml.XMLConstants;
import javax.xml.transform.stream.StreamSource;
import javax.xml.validation.SchemaFactory;
import org.xml.sax.SAXException;

/**
 * All of the data model, read from the XML files on the class path and checked against the XML
 * schema on the way; the extensions have joined their classes.
 *
 * @param model versions and the order of classes
 * @param classes in the published order
 * @param views the relations turned round: from the view ({@code VM.VBDs}) to the stored field
 *     ({@code VBD.VM})
 */
public record DataModelSource(
    ModelXml model,
    List<ClassXml> classes,
    EnumsXml enums,
    ErrorsXml errors,
    Map<String, String> views,
    ActionsXml actions,
    AlertsXml alerts) {

  /**
   * Reads the files.
   *
   * @throws IOException when a file is missing, is no valid XML, or breaks the schema; the message
   *     names the file and the line
   */
  public static DataModelSource load() throws IOException {
    Reader in = new Reader();
    ModelXml model = in.read("model.xml", ModelXml.class);
    List<ClassXml> classes = new ArrayList<>();
    for (ModelXml.ClassName c : model.classes) {
      classes.add(in.read("class/" + c.name + ".xml", ClassXml.class));
    }
    Map<String, ClassXml> byName =
        classes.stream().collect(Collectors.toMap(c -> c.name, c -> c, (a, b) -> a));
    for (ExtensionsXml.In extension : in.read("extensions.xml", ExtensionsXml.class).classes) {
      ClassXml c = byName.get(extension.className);
      if (c == null) {
        throw new IOException("extensions.xml extends the unknown class " + extension.className);
      }
      c.fields.addAll(extension.fields);
      c.messages.addAll(extension.messages);
    }
    Map<String, String> views = new TreeMap<>();
    for (RelationsXml.Relation r : in.read("relations.xml", RelationsXml.class).relations) {
      if (!r.one.equals(r.many)) {
        views.put(r.many, r.one);
      }
    }
    return new DataModelSource(
        model,
        List.copyOf(classes),
        in.read("enums.xml", EnumsXml.class),
        in.read("errors.xml", ErrorsXml.class),
        views,
        in.read("http-actions.xml", ActionsXml.class),
        in.read("alerts.xml", AlertsXml.class));
  }

  /** Unmarshals resources, each checked against the schema. */
  private static final class Reader {
    private final Unmarshaller unmarshaller;

    Reader() throws IOException {
      try {
        var schema =
            SchemaFactory.newInstance(XMLConstants.W3C_XML_SCHEMA_NS_URI)
                .newSchema(DataModelSource.class.getResource("datamodel.xsd"));
        unmarshaller =
            JAXBContext.newInstance(
                    ModelXml.class,
                    ClassXml.class,
                    EnumsXml.class,
                    ErrorsXml.class,
                    RelationsXml.class,
                    ActionsXml.class,
                    AlertsXml.class,
                    ExtensionsXml.class)
                .createUnmarshaller();
        unmarshaller.setSchema(schema);
      } catch (JAXBException | SAXException e) {
        throw new IOException("The data model's XML schema cannot be read", e);
      }
    }

    <T> T read(String name, Class<T> type) throws IOException {
      try (InputStream in = DataModelSource.class.getResourceAsStream(name)) {
        if (in == null) {
          throw new IOException("The data model lacks " + name);
        }
        return type.cast(unmarshaller.unmarshal(new StreamSource(in, name)));
      } catch (JAXBException e) {
        Throwable cause = e.getLinkedException() == null ? e : e.getLinkedException();
        throw new IOException("The data model's " + name + " is not valid: " + cause, e);
      }
    }
  }
}
