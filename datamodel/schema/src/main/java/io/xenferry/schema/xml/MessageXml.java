package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlList;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A message that does not follow from the fields. */
public final class MessageXml {
  @XmlAttribute public String name = "";
  @XmlAttribute public String result = "";
  @XmlAttribute public String role = "";
  @XmlAttribute @XmlList public List<String> also = new ArrayList<>();
  @XmlAttribute public boolean async;
  @XmlAttribute public boolean session = true;
  @XmlAttribute public boolean hidden;
  @XmlAttribute public boolean poolInternal;
  @XmlAttribute public boolean emergency;
  @XmlAttribute public boolean secret;
  @XmlAttribute public boolean ownMarshalling;
  @XmlAttribute public boolean noCurrentOperations;
  @XmlAttribute public @Nullable String forward;
  @XmlAttribute @XmlList public List<String> history = new ArrayList<>();

  @XmlElement(name = "param")
  public List<Param> params = new ArrayList<>();

  @XmlElement(name = "error")
  public List<String> errors = new ArrayList<>();

  /** A parameter; the session is not among them. */
  public static final class Param {
    @XmlAttribute public String name = "";
    @XmlAttribute public String type = "";
    @XmlAttribute public @Nullable String since;

    @XmlElement(name = "default")
    public @Nullable DefaultXml defaultValue;
  }
}
