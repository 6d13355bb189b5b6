package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlRootElement;
import java.util.ArrayList;
import java.util.List;

/** Which fields are views of which references. */
@XmlRootElement(name = "relations")
public final class RelationsXml {

  @XmlElement(name = "relation")
  public List<Relation> relations = new ArrayList<>();

  /** The stored end and the view. */
  public static final class Relation {
    @XmlAttribute public String one = "";
    @XmlAttribute public String many = "";
  }
}
