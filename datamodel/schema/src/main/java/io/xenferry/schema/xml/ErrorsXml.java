package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlRootElement;
import java.util.ArrayList;
import java.util.List;

/** All error codes. */
@XmlRootElement(name = "errors")
public final class ErrorsXml {

  @XmlElement(name = "error")
  public List<ErrorXml> errors = new ArrayList<>();

  /** A code and the names of its parameters. */
  public static final class ErrorXml {
    @XmlAttribute public String code = "";
    @XmlAttribute public boolean listed = true;

    @XmlElement(name = "param")
    public List<String> params = new ArrayList<>();
  }
}
