package io.xenferry.wire;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.TreeMap;
import javax.xml.XMLConstants;
import javax.xml.parsers.ParserConfigurationException;
import javax.xml.parsers.SAXParserFactory;
import org.apache.xmlrpc.XmlRpcException;
import org.apache.xmlrpc.XmlRpcRequest;
import org.apache.xmlrpc.XmlRpcRequestConfig;
import org.apache.xmlrpc.common.XmlRpcHttpRequestConfigImpl;
import org.apache.xmlrpc.parser.XmlRpcRequestParser;
import org.apache.xmlrpc.parser.XmlRpcResponseParser;
import org.apache.xmlrpc.serializer.XmlRpcWriter;
import org.jspecify.annotations.Nullable;
import org.xml.sax.ContentHandler;
import org.xml.sax.InputSource;
import org.xml.sax.SAXException;
import org.xml.sax.XMLReader;

/**
 * XML-RPC with XenAPI's type rules, on Apache XML-RPC's parsers and writer.
 *
 * <p>What comes in is hostile: no document type, no entity but the five of XML, at most {@value
 * #MAX_DEPTH} elements deep, every member of a struct once, extensions refused. The size limit is
 * the caller's, who owns the stream. Thread-safe.
 *
 * <p>Rules: void is {@code <value></value>}, integers are untyped decimal text, no white space
 * between elements, {@code <nil/>} only in storage calls.
 */
public final class XmlRpcCodec {

  /** Deepest nesting of elements; a record in an array in a response needs 14. */
  public static final int MAX_DEPTH = 64;

  // A reader costs 30-150 us to make and a small call 10-30 us to parse, so readers are kept; a few
  // more than there are cores, since they are held only while parsing what is already in memory.
  private static final int KEPT_READERS = 8;

  private final XmlRpcHttpRequestConfigImpl config = new XmlRpcHttpRequestConfigImpl();
  private final XenApiTypes types;
  private final java.util.concurrent.BlockingQueue<XMLReader> readers =
      new java.util.concurrent.ArrayBlockingQueue<>(KEPT_READERS);

  public XmlRpcCodec(Dialect dialect) {
    this.types = new XenApiTypes(dialect);
    config.setEnabledForExtensions(false);
    config.setEncoding("UTF-8");
  }

  /**
   * Reads a call.
   *
   * @throws WireException when it is none
   */
  public XmlRpcCall readCall(byte[] body) throws WireException {
    XmlRpcRequestParser parser = new XmlRpcRequestParser(config, types);
    parse(new ByteArrayInputStream(body), parser);
    String method = parser.getMethodName();
    if (method == null || method.isEmpty()) {
      throw new WireException("no method name");
    }
    List<Value> params = new ArrayList<>();
    List<?> parsed = parser.getParams();
    if (parsed != null) {
      for (Object p : parsed) {
        params.add(toValue(p));
      }
    }
    return new XmlRpcCall(method, params);
  }

  /** Writes a call with untyped integers, as published servers accept. */
  public byte[] writeCall(String method, List<Value> params) {
    ByteArrayOutputStream out = new ByteArrayOutputStream(512);
    XmlRpcRequest request =
        new XmlRpcRequest() {
          @Override
          public XmlRpcRequestConfig getConfig() {
            return config;
          }

          @Override
          public String getMethodName() {
            return method;
          }

          @Override
          public int getParameterCount() {
            return params.size();
          }

          @Override
          public Object getParameter(int i) {
            return params.get(i);
          }
        };
    try {
      new XmlRpcWriter(config, new XmlOutput(out), types).write(request);
    } catch (SAXException e) {
      throw new IllegalStateException("writing to memory failed", e);
    }
    return out.toByteArray();
  }

  /** {@code {Status: Success, Value: …}}. */
  public void writeSuccess(OutputStream out, Content value) throws IOException {
    writeBare(
        out,
        new Content.Members(
            List.of(
                Map.entry("Status", Content.of(Value.of("Success"))), Map.entry("Value", value))));
  }

  /** {@code {Status: Failure, ErrorDescription: [code, params…]}}. */
  public void writeFailure(OutputStream out, XenApiException failure) throws IOException {
    writeBare(
        out,
        new Content.Members(
            List.of(
                Map.entry("Status", Content.of(Value.of("Failure"))),
                Map.entry("ErrorDescription", Content.of(description(failure))))));
  }

  /** A response without the wrapper: what {@code system.listMethods} answers. */
  public void writeBare(OutputStream out, Content value) throws IOException {
    try {
      new XmlRpcWriter(config, new XmlOutput(out), types).write(config, value);
    } catch (SAXException e) {
      if (e.getException() instanceof IOException io) {
        throw io;
      }
      throw new IOException(e);
    }
  }

  /** One {@code <value>} element, as {@code task.result} holds it. */
  public String valueElement(Content value) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    XmlOutput xml = new XmlOutput(out);
    try {
      types.getSerializer(config, value).write(xml, value);
      xml.endDocument();
    } catch (SAXException e) {
      throw new IllegalStateException("writing to memory failed", e);
    }
    return out.toString(StandardCharsets.UTF_8);
  }

  /**
   * Reads one {@code <value>} element, the inverse of {@link #valueElement}.
   *
   * @throws WireException when it is none
   */
  public Value readValueElement(String element) throws WireException {
    String call =
        "<methodCall><methodName>v</methodName><params><param>"
            + element
            + "</param></params></methodCall>";
    List<Value> params = readCall(call.getBytes(StandardCharsets.UTF_8)).params();
    if (params.size() != 1) {
      throw new WireException("not one value");
    }
    return params.getFirst();
  }

  /**
   * Reads the answer to a XenAPI call.
   *
   * @throws XenApiException what the server answered; a real XML-RPC fault is INTERNAL_ERROR
   * @throws WireException when it is no answer
   */
  public Value readAnswer(InputStream body) throws WireException, XenApiException {
    Value answer = readBare(body);
    if (!(answer instanceof Value.Struct(SequencedMap<String, Value> members))
        || !(members.get("Status") instanceof Value.Text(String status))) {
      throw new WireException("an answer without a status");
    }
    if (status.equals("Success")) {
      Value value = members.get("Value");
      return value == null ? Value.VOID : value;
    }
    if (members.get("ErrorDescription") instanceof Value.Array(List<Value> items)
        && !items.isEmpty()
        && items.stream().allMatch(Value.Text.class::isInstance)) {
      List<String> texts = items.stream().map(v -> ((Value.Text) v).text()).toList();
      throw new XenApiException(texts.getFirst(), texts.subList(1, texts.size()));
    }
    throw new WireException("a failure without a description");
  }

  /**
   * Reads a response without XenAPI's wrapper: storage calls, and {@code system.listMethods}.
   *
   * @throws XenApiException INTERNAL_ERROR for an XML-RPC fault
   * @throws WireException when it is no response
   */
  public Value readBare(InputStream body) throws WireException, XenApiException {
    XmlRpcResponseParser parser = new XmlRpcResponseParser(config, types);
    parse(body, parser);
    if (!parser.isSuccess()) {
      if (parser.getErrorMessage() == null) {
        throw new WireException("neither a result nor a fault");
      }
      throw new XenApiException(
          "INTERNAL_ERROR", "fault " + parser.getErrorCode() + ": " + parser.getErrorMessage());
    }
    try {
      return toValue(parser.getResult());
    } catch (XmlRpcException e) {
      throw new WireException("no result in the response", e);
    }
  }

  private static Value description(XenApiException failure) {
    List<String> words = new ArrayList<>();
    words.add(failure.code());
    words.addAll(failure.params());
    return Value.ofTexts(words);
  }

  private void parse(InputStream in, ContentHandler handler) throws WireException {
    XMLReader reader = null;
    boolean sound = false;
    try {
      reader = readers.poll();
      if (reader == null) {
        reader = newReader();
      }
      reader.setContentHandler(handler);
      InputSource source = new InputSource(in);
      reader.parse(source);
      sound = true;
    } catch (WireException e) {
      throw e;
    } catch (SAXException | IOException | RuntimeException e) {
      // The library reports what it does not expect with unchecked exceptions, too.
      throw new WireException("malformed XML-RPC: " + e.getMessage(), e);
    } finally {
      if (reader != null && sound) {
        reader.setContentHandler(new org.xml.sax.helpers.DefaultHandler());
        readers.offer(reader);
      }
    }
  }

  private static XMLReader newReader() throws SAXException {
    try {
      SAXParserFactory factory = SAXParserFactory.newDefaultNSInstance();
      factory.setFeature(XMLConstants.FEATURE_SECURE_PROCESSING, true);
      factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
      factory.setFeature("http://xml.org/sax/features/external-general-entities", false);
      factory.setFeature("http://xml.org/sax/features/external-parameter-entities", false);
      factory.setXIncludeAware(false);
      XMLReader reader = factory.newSAXParser().getXMLReader();
      reader.setProperty("jdk.xml.maxElementDepth", Integer.toString(MAX_DEPTH));
      reader.setErrorHandler(new org.xml.sax.helpers.DefaultHandler());
      return reader;
    } catch (ParserConfigurationException e) {
      throw new SAXException(e);
    }
  }

  private static Value toValue(@Nullable Object parsed) throws WireException {
    return switch (parsed) {
      case null -> Value.VOID;
      case String s -> Value.of(s);
      case Long l -> Value.of((long) l);
      case Boolean b -> Value.of((boolean) b);
      case Double d -> Value.of((double) d);
      case Instant t -> Value.of(t);
      case Object[] items -> {
        List<Value> values = new ArrayList<>(items.length);
        for (Object item : items) {
          values.add(toValue(item));
        }
        yield new Value.Array(values);
      }
      case Map<?, ?> members -> {
        // The library's map has no order worth keeping; sorted is at least always the same.
        SequencedMap<String, Value> values = new TreeMap<>();
        for (Map.Entry<?, ?> e : members.entrySet()) {
          if (!(e.getKey() instanceof String name)) {
            throw new WireException("a member without a name");
          }
          values.put(name, toValue(e.getValue()));
        }
        yield new Value.Struct(values);
      }
      default -> throw new WireException("unexpected type " + parsed.getClass());
    };
  }
}
