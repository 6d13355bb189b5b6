package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlList;
import jakarta.xml.bind.annotation.XmlRootElement;
import java.util.ArrayList;
import java.util.List;

/** A class: one file. */
@XmlRootElement(name = "class")
public final class ClassXml {
  @XmlAttribute public String name = "";
  @XmlAttribute public boolean database;
  @XmlAttribute public boolean events;
  @XmlAttribute public boolean persistent;
  @XmlAttribute public boolean constructible;
  @XmlAttribute public boolean enumerable;
  @XmlAttribute public boolean async;
  @XmlAttribute public String role = "";
  @XmlAttribute public String reader = "read-only";
  @XmlAttribute @XmlList public List<String> history = new ArrayList<>();

  @XmlElement(name = "field")
  public List<FieldXml> fields = new ArrayList<>();

  @XmlElement(name = "message")
  public List<MessageXml> messages = new ArrayList<>();
}
