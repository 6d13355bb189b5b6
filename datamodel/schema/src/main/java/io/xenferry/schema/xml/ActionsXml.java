package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlList;
import jakarta.xml.bind.annotation.XmlRootElement;
import java.util.ArrayList;
import java.util.List;

/** HTTP actions beside the calls. */
@XmlRootElement(name = "actions")
public final class ActionsXml {

  @XmlElement(name = "action")
  public List<Action> actions = new ArrayList<>();

  /** A path, its method and who may use it. */
  public static final class Action {
    @XmlAttribute public String name = "";
    @XmlAttribute public String method = "";
    @XmlAttribute public String uri = "";
    @XmlAttribute public String role = "";
    @XmlAttribute @XmlList public List<String> also = new ArrayList<>();
    @XmlAttribute public boolean sdk;
    @XmlAttribute public boolean rbac = true;

    @XmlElement(name = "arg")
    public List<Arg> args = new ArrayList<>();

    @XmlElement(name = "sub")
    public List<Sub> subs = new ArrayList<>();
  }

  /** An argument of the query string. */
  public static final class Arg {
    @XmlAttribute public String name = "";
    @XmlAttribute public String type = "";
  }

  /** A part of an action with a role of its own. */
  public static final class Sub {
    @XmlAttribute public String name = "";
    @XmlAttribute public String role = "";
  }
}
