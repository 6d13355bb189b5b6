/**
 * JAXB's view of the data model's XML files: plain elements and attributes, as datamodel.xsd has
 * them. No rules and no generation here; the namespace is {@code urn:xenferry:datamodel:1}.
 */
@XmlSchema(namespace = "urn:xenferry:datamodel:1", elementFormDefault = XmlNsForm.QUALIFIED)
@XmlAccessorType(XmlAccessType.FIELD)
@NullMarked
package io.xenferry.schema.xml;

import jakarta.xml.bind.annotation.XmlAccessType;
import jakarta.xml.bind.annotation.XmlAccessorType;
import jakarta.xml.bind.annotation.XmlNsForm;
import jakarta.xml.bind.annotation.XmlSchema;
import org.jspecify.annotations.NullMarked;
