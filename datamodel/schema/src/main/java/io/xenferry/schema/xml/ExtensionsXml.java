package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlRootElement;
import java.util.ArrayList;
import java.util.List;

/** What XenFerry adds to published classes. */
@XmlRootElement(name = "extensions")
public final class ExtensionsXml {

  @XmlElement(name = "in")
  public List<In> classes = new ArrayList<>();

  /** Additions to one class. */
  public static final class In {
    @XmlAttribute(name = "class")
    public String className = "";

    @XmlElement(name = "field")
    public List<FieldXml> fields = new ArrayList<>();

    @XmlElement(name = "message")
    public List<MessageXml> messages = new ArrayList<>();
  }
}
