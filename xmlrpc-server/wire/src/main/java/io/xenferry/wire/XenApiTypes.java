package io.xenferry.wire;

import io.xenferry.model.Value;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.ws.commons.util.NamespaceContextImpl;
import org.apache.xmlrpc.common.TypeFactory;
import org.apache.xmlrpc.common.XmlRpcStreamConfig;
import org.apache.xmlrpc.parser.AtomicParser;
import org.apache.xmlrpc.parser.BooleanParser;
import org.apache.xmlrpc.parser.MapParser;
import org.apache.xmlrpc.parser.NullParser;
import org.apache.xmlrpc.parser.ObjectArrayParser;
import org.apache.xmlrpc.parser.StringParser;
import org.apache.xmlrpc.parser.TypeParser;
import org.apache.xmlrpc.serializer.TypeSerializer;
import org.apache.xmlrpc.serializer.TypeSerializerImpl;
import org.jspecify.annotations.Nullable;
import org.xml.sax.ContentHandler;
import org.xml.sax.SAXException;

/**
 * XenAPI's type rules for the XML-RPC library: integers travel untyped and have 64 bits, the empty
 * string is {@code <value></value>}, there are no extensions.
 */
final class XenApiTypes implements TypeFactory {
  private static final Pattern DIGITS = Pattern.compile("[+-]?[0-9]{19,100}");

  private static final Pattern DATE =
      Pattern.compile("[0-9]{4}-?[0-9]{2}-?[0-9]{2}T[0-9]{2}:?[0-9]{2}:?[0-9]{2}[-+.:0-9Z]{0,20}");

  private final Dialect dialect;
  private final TypeSerializer serializer = new ContentSerializer();

  XenApiTypes(Dialect dialect) {
    this.dialect = dialect;
  }

  @Override
  public TypeSerializer getSerializer(XmlRpcStreamConfig config, Object object) {
    return serializer;
  }

  @Override
  public @Nullable TypeParser getParser(
      XmlRpcStreamConfig config, NamespaceContextImpl context, String uri, String localName) {
    if (!uri.isEmpty()) {
      return null;
    }
    return switch (localName) {
      case "string" -> new StringParser();
      case "int", "i4", "i8" -> new LongText();
      case "boolean" -> new BooleanParser();
      case "double" -> new DoubleText();
      case "dateTime.iso8601" -> new DateText();
      case "array" -> new ObjectArrayParser(config, context, this);
      case "struct" -> new MapParser(config, context, this);
      case "nil" -> dialect == Dialect.SMAPI ? new NullParser() : null;
      default -> null;
    };
  }

  /**
   * Any integer tag, in the 64 bits that XenAPI's have. A number of more bits stays text: the call
   * is well formed, and whoever wants an integer there can say which one does not fit.
   */
  private static final class LongText extends AtomicParser {
    @Override
    protected void setResult(String text) throws SAXException {
      String word = text.strip();
      try {
        super.setResult((Object) Long.valueOf(word));
      } catch (NumberFormatException e) {
        if (!DIGITS.matcher(word).matches()) {
          throw new SAXException("not an integer", e);
        }
        super.setResult((Object) word);
      }
    }
  }

  private static final class DoubleText extends AtomicParser {
    @Override
    protected void setResult(String text) throws SAXException {
      try {
        super.setResult((Object) Doubles.parse(text));
      } catch (WireException e) {
        throw new SAXException(e);
      }
    }
  }

  /** A date. One that no calendar has, such as the 30th of February, stays text, as above. */
  private static final class DateText extends AtomicParser {
    @Override
    protected void setResult(String text) throws SAXException {
      try {
        super.setResult((Object) Dates.parse(text));
      } catch (WireException e) {
        if (!DATE.matcher(text.strip()).matches()) {
          throw new SAXException(e);
        }
        super.setResult((Object) text.strip());
      }
    }
  }

  private final class ContentSerializer extends TypeSerializerImpl {
    @Override
    public void write(ContentHandler out, Object object) throws SAXException {
      switch (object) {
        case Content.Plain p -> value(out, p.value());
        case Content.Int32 i -> write(out, "i4", Integer.toString(i.value()));
        case Content.Members m -> {
          start(out, "struct");
          for (Map.Entry<String, Content> e : m.members()) {
            name(out, e.getKey());
            write(out, e.getValue());
            out.endElement("", "member", "member");
          }
          end(out, "struct");
        }
        case Content.Items a -> {
          start(out, "array");
          out.startElement("", "data", "data", ZERO_ATTRIBUTES);
          for (Content c : a.items()) {
            write(out, c);
          }
          out.endElement("", "data", "data");
          end(out, "array");
        }
        case Value v -> value(out, v);
        default -> throw new SAXException("no such type on the wire: " + object.getClass());
      }
    }

    @SuppressWarnings("ReferenceEquality") // void is one instance, by design of the dialect
    private void value(ContentHandler out, Value value) throws SAXException {
      switch (value) {
        case Value.Text t -> {
          if (dialect == Dialect.SMAPI && t == Value.VOID) {
            start(out, "nil");
            end(out, "nil");
          } else {
            untyped(out, t.text());
          }
        }
        case Value.Int i -> untyped(out, Long.toString(i.value()));
        case Value.Real d -> write(out, "double", Doubles.format(d.value()));
        case Value.Bool b -> write(out, "boolean", b.value() ? "1" : "0");
        case Value.Time t -> write(out, "dateTime.iso8601", Dates.format(t.instant()));
        case Value.Array a -> {
          start(out, "array");
          out.startElement("", "data", "data", ZERO_ATTRIBUTES);
          for (Value v : a.items()) {
            value(out, v);
          }
          out.endElement("", "data", "data");
          end(out, "array");
        }
        case Value.Struct s -> {
          start(out, "struct");
          for (Map.Entry<String, Value> e : s.members().entrySet()) {
            name(out, e.getKey());
            value(out, e.getValue());
            out.endElement("", "member", "member");
          }
          end(out, "struct");
        }
      }
    }

    /** The library's own way to omit the tag takes null, which its types do not tell. */
    private void untyped(ContentHandler out, String text) throws SAXException {
      out.startElement("", VALUE_TAG, VALUE_TAG, ZERO_ATTRIBUTES);
      char[] chars = text.toCharArray();
      out.characters(chars, 0, chars.length);
      out.endElement("", VALUE_TAG, VALUE_TAG);
    }

    private void name(ContentHandler out, String name) throws SAXException {
      out.startElement("", "member", "member", ZERO_ATTRIBUTES);
      out.startElement("", "name", "name", ZERO_ATTRIBUTES);
      char[] chars = name.toCharArray();
      out.characters(chars, 0, chars.length);
      out.endElement("", "name", "name");
    }

    private void start(ContentHandler out, String tag) throws SAXException {
      out.startElement("", VALUE_TAG, VALUE_TAG, ZERO_ATTRIBUTES);
      out.startElement("", tag, tag, ZERO_ATTRIBUTES);
    }

    private void end(ContentHandler out, String tag) throws SAXException {
      out.endElement("", tag, tag);
      out.endElement("", VALUE_TAG, VALUE_TAG);
    }
  }
}
