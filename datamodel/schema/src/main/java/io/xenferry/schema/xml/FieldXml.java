package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlList;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A field of a class. */
public final class FieldXml {
  @XmlAttribute public String name = "";
  @XmlAttribute public @Nullable String column;
  @XmlAttribute public String type = "";
  @XmlAttribute public String access = "";
  @XmlAttribute public String setter = "local-root-only";
  @XmlAttribute @XmlList public List<String> setterAlso = new ArrayList<>();
  @XmlAttribute public String getter = "read-only";
  @XmlAttribute public boolean internal;
  @XmlAttribute public boolean persistent = true;
  @XmlAttribute public boolean dangling;
  @XmlAttribute @XmlList public List<String> history = new ArrayList<>();

  @XmlElement(name = "default")
  public @Nullable DefaultXml defaultValue;

  @XmlElement(name = "keyRole")
  public List<KeyRole> keyRoles = new ArrayList<>();

  /** Who may change one key of a map, when that differs from the field's role. */
  public static final class KeyRole {
    @XmlAttribute public String key = "";
    @XmlAttribute public String role = "";
  }
}
