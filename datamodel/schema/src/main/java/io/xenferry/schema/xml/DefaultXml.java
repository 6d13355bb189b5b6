package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A default: a scalar's value, a set's items or a map's entries. */
public final class DefaultXml {
  @XmlAttribute public @Nullable String value;

  @XmlElement(name = "item")
  public List<String> items = new ArrayList<>();

  @XmlElement(name = "entry")
  public List<Entry> entries = new ArrayList<>();

  /** One pair of a map. */
  public static final class Entry {
    @XmlAttribute public String key = "";
    @XmlAttribute public String value = "";
  }
}
