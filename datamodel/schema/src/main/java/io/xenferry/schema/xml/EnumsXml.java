package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlRootElement;
import java.util.ArrayList;
import java.util.List;

/** All enumerations. */
@XmlRootElement(name = "enums")
public final class EnumsXml {

  @XmlElement(name = "enum")
  public List<EnumXml> enums = new ArrayList<>();

  /** One enumeration and its words. */
  public static final class EnumXml {
    @XmlAttribute public String name = "";

    @XmlElement(name = "value")
    public List<String> values = new ArrayList<>();
  }
}
