package io.xenferry.server.vm;

import io.xenferry.model.XenApiException;
import java.io.StringReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamConstants;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;

/**
 * A disk that a template describes in its other_config, as
 *
 * <pre>{@code <provision><disk device="0" size="8589934592" sr="" bootable="true"
 *  type="system"/></provision>}</pre>
 *
 * @param size bytes
 * @param sr a uuid, or empty for the pool's default
 */
record ProvisionDisk(String device, long size, String sr, boolean bootable, String type) {
  /** More disks than a VM can have are a mistake. */
  private static final int LIMIT = 16;

  /**
   * @throws XenApiException INVALID_VALUE when it is not such a description
   */
  static List<ProvisionDisk> parse(String description) throws XenApiException {
    List<ProvisionDisk> disks = new ArrayList<>();
    if (description.isBlank()) {
      return disks;
    }
    try {
      XMLInputFactory factory = XMLInputFactory.newDefaultFactory();
      factory.setProperty(XMLInputFactory.SUPPORT_DTD, false);
      factory.setProperty(XMLInputFactory.IS_SUPPORTING_EXTERNAL_ENTITIES, false);
      XMLStreamReader xml = factory.createXMLStreamReader(new StringReader(description));
      while (xml.hasNext()) {
        if (xml.next() == XMLStreamConstants.START_ELEMENT && xml.getLocalName().equals("disk")) {
          disks.add(
              new ProvisionDisk(
                  attribute(xml, "device").orElse(Integer.toString(disks.size())),
                  Long.parseLong(attribute(xml, "size").orElse("")),
                  attribute(xml, "sr").orElse(""),
                  attribute(xml, "bootable").orElse("false").equals("true"),
                  attribute(xml, "type").orElse("user").equals("system") ? "system" : "user"));
        }
      }
    } catch (XMLStreamException | NumberFormatException e) {
      throw new XenApiException(
              "INVALID_VALUE", "other_config:" + VmCloneMessages.DISKS_KEY, description)
          .withCause(e);
    }
    boolean fine =
        disks.size() <= LIMIT
            && disks.stream().allMatch(d -> d.size() > 0 && d.device().matches("[0-9]|1[0-5]"));
    if (!fine) {
      throw new XenApiException(
          "INVALID_VALUE", "other_config:" + VmCloneMessages.DISKS_KEY, description);
    }
    return disks;
  }

  private static Optional<String> attribute(XMLStreamReader xml, String name) {
    return Optional.ofNullable(xml.getAttributeValue(null, name));
  }
}
