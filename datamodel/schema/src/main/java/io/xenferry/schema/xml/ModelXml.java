package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlRootElement;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Versions, releases and the list of classes. */
@XmlRootElement(name = "model")
public final class ModelXml {
  @XmlAttribute public int apiMajor;
  @XmlAttribute public int apiMinor;
  @XmlAttribute public String apiVendor = "";
  @XmlAttribute public String dbSchema = "";

  @XmlElement(name = "release")
  public List<Release> releases = new ArrayList<>();

  @XmlElement(name = "class")
  public List<ClassName> classes = new ArrayList<>();

  @XmlElement(name = "notForwarded")
  public List<Call> notForwarded = new ArrayList<>();

  /** A release of the published model. */
  public static final class Release {
    @XmlAttribute public @Nullable String name;
    @XmlAttribute public String api = "";
    @XmlAttribute public String branding = "";
    @XmlAttribute public @Nullable String date;
  }

  /** A class, whose facts stand in a file of its own. */
  public static final class ClassName {
    @XmlAttribute public String name = "";
  }

  /** A call, as class.message. */
  public static final class Call {
    @XmlAttribute public String call = "";
  }
}
