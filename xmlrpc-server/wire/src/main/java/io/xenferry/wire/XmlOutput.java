package io.xenferry.wire;

import java.io.IOException;
import java.io.OutputStream;
import org.xml.sax.Attributes;
import org.xml.sax.SAXException;
import org.xml.sax.helpers.DefaultHandler;

/**
 * Writes SAX events as UTF-8 without any white space of its own. Characters that XML cannot carry
 * are dropped, a carriage return travels as {@code &#13;}, since parsers turn a raw one into a line
 * feed.
 */
final class XmlOutput extends DefaultHandler {
  private final OutputStream out;
  // 16 KiB: larger buffers gained nothing for record lists, smaller ones cost system calls.
  private final byte[] buffer = new byte[16 * 1024];
  private int used;

  XmlOutput(OutputStream out) {
    this.out = out;
  }

  @Override
  public void startDocument() throws SAXException {
    ascii("<?xml version=\"1.0\"?>");
  }

  @Override
  public void endDocument() throws SAXException {
    try {
      drain();
      out.flush();
    } catch (IOException e) {
      throw new SAXException(e);
    }
  }

  @Override
  public void startElement(String uri, String localName, String qName, Attributes attributes)
      throws SAXException {
    put('<');
    ascii(qName);
    put('>');
  }

  @Override
  public void endElement(String uri, String localName, String qName) throws SAXException {
    put('<');
    put('/');
    ascii(qName);
    put('>');
  }

  @Override
  public void characters(char[] ch, int start, int length) throws SAXException {
    int end = start + length;
    for (int i = start; i < end; i++) {
      char c = ch[i];
      switch (c) {
        case '&' -> ascii("&amp;");
        case '<' -> ascii("&lt;");
        case '>' -> ascii("&gt;");
        case '"' -> ascii("&quot;");
        case '\r' -> ascii("&#13;");
        default -> {
          if (c < 0x80) {
            if (c >= ' ' || c == '\t' || c == '\n') {
              put(c);
            }
          } else if (Character.isHighSurrogate(c)
              && i + 1 < end
              && Character.isLowSurrogate(ch[i + 1])) {
            int p = Character.toCodePoint(c, ch[++i]);
            put(0xF0 | p >> 18);
            put(0x80 | p >> 12 & 0x3F);
            put(0x80 | p >> 6 & 0x3F);
            put(0x80 | p & 0x3F);
          } else if (c < 0x800) {
            put(0xC0 | c >> 6);
            put(0x80 | c & 0x3F);
          } else if (!Character.isSurrogate(c) && c < 0xFFFE) {
            put(0xE0 | c >> 12);
            put(0x80 | c >> 6 & 0x3F);
            put(0x80 | c & 0x3F);
          }
        }
      }
    }
  }

  private void ascii(String s) throws SAXException {
    for (int i = 0; i < s.length(); i++) {
      put(s.charAt(i));
    }
  }

  private void put(int b) throws SAXException {
    if (used == buffer.length) {
      try {
        drain();
      } catch (IOException e) {
        throw new SAXException(e);
      }
    }
    buffer[used++] = (byte) b;
  }

  private void drain() throws IOException {
    out.write(buffer, 0, used);
    used = 0;
  }
}
