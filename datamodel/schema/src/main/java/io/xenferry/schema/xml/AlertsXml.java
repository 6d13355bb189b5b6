package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAttribute;
import jakarta.xml.bind.annotation.XmlElement;
import jakarta.xml.bind.annotation.XmlRootElement;
import java.util.ArrayList;
import java.util.List;

/** Names and priorities of the messages that the server files. */
@XmlRootElement(name = "alerts")
public final class AlertsXml {

  @XmlElement(name = "alert")
  public List<Alert> alerts = new ArrayList<>();

  /** One kind of message. */
  public static final class Alert {
    @XmlAttribute public String name = "";
    @XmlAttribute public int priority;
  }
}
