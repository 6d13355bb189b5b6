package io.xenferry.fuzz;

import static io.xenferry.fuzz.Calls.require;
import static io.xenferry.fuzz.Calls.utf8;

import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.pdu.Chap;
import io.xenferry.iscsi.pdu.HeaderReader;
import io.xenferry.iscsi.pdu.Headers;
import io.xenferry.iscsi.pdu.ProtocolException;
import io.xenferry.iscsi.pdu.TextKeys;
import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.peer.TokenMint;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.State;
import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.query.Query;
import io.xenferry.nbd.NbdUri;
import io.xenferry.xe.protocol.Greeting;
import io.xenferry.xe.protocol.Message;
import io.xenferry.xe.protocol.MessageCodec;
import io.xenferry.xe.protocol.RequestBody;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** What is read as a whole, without a conversation. */
final class Texts {
  private Texts() {}

  /** The header of a PDU, the text of a login and addresses. */
  static Surface iscsiText() {
    return new Surface() {
      @Override
      public List<byte[]> seeds() {
        return List.of(
            new byte[Headers.LENGTH],
            utf8("InitiatorName=iqn.2026-01.io.xenferry:a\0MaxBurstLength=262144\0CHAP_A=5\0"),
            utf8("HeaderDigest=CRC32C,None\0CHAP_C=0x00ff\0CHAP_R=0bAAEC\0ImmediateData=Yes\0"),
            utf8("iscsi://user%secret@127.0.0.1:3260/iqn.2026-01.io.xenferry:a/1"),
            utf8("nbds+unix:///name%20?socket=/run/x"));
      }

      @Override
      public void take(byte[] input) {
        if (input.length >= Headers.LENGTH) {
          try {
            HeaderReader.read(ByteBuffer.wrap(input));
            HeaderReader.dataLength(ByteBuffer.wrap(input));
          } catch (ProtocolException refused) {
            // As it should.
          }
        }
        try {
          TextKeys keys = TextKeys.parse(ByteBuffer.wrap(input));
          require(
              TextKeys.parse(ByteBuffer.wrap(keys.toBytes())).asMap().equals(keys.asMap()),
              "read again it is different");
          for (String value : keys.asMap().values()) {
            Chap.binary(value);
          }
        } catch (ProtocolException refused) {
          // As it should.
        }
        String text = new String(input, StandardCharsets.UTF_8);
        try {
          IscsiUrl url = IscsiUrl.parse(text);
          require(IscsiUrl.parse(url.text()).equals(url), "another URL: " + url.text());
        } catch (IllegalArgumentException refused) {
          // As it should.
        }
        try {
          NbdUri.parse(text);
        } catch (IllegalArgumentException refused) {
          // As it should.
        }
      }
    };
  }

  /** What servers say to each other, read strictly. */
  static Surface peerMessage() {
    return new Surface() {
      @Override
      public List<byte[]> seeds() {
        UUID incarnation = new UUID(1, 2);
        Plan plan =
            new Plan(
                incarnation,
                incarnation,
                "a name",
                Plan.Power.RUNNING,
                1 << 20,
                List.of(new Plan.Disk(incarnation, "0", 1 << 20, "OpaqueRef:1", "auto", false)),
                false,
                true,
                Map.of("live", "true"));
        PeerAddress self = new PeerAddress("http://127.0.0.1:80", "");
        String token =
            new TokenMint(new byte[32], incarnation, "host", self)
                .issue(
                    new MigrationId(incarnation),
                    List.of("scope"),
                    self.url(),
                    Instant.EPOCH,
                    Duration.ofHours(1));
        return List.of(
            StrictJson.write(
                new PeerMessage.Open(
                    List.of(1), "00ff", incarnation, self.url(), "", plan, "<vm/>")),
            StrictJson.write(new PeerMessage.Check(List.of(1, 2), plan, "{}")),
            utf8(token),
            PeerAnswer.of(incarnation, State.READY, false, false).write(),
            PeerAnswer.unknown(incarnation)
                .refusing("SR_FULL", List.of("1", "2"), "no room")
                .write(),
            StrictJson.write(new PeerMessage.Commit(incarnation)),
            utf8("e30.c2ln"));
      }

      @Override
      public void take(byte[] input) {
        try {
          PeerAnswer answer = PeerAnswer.read(input);
          require(PeerAnswer.read(answer.write()).equals(answer), "another answer");
          answer.known();
        } catch (IllegalArgumentException refused) {
          // As it should.
        }
        for (Class<?> type :
            List.of(
                PeerMessage.Open.class,
                PeerMessage.Check.class,
                PeerMessage.Turn.class,
                PeerMessage.Commit.class,
                PeerMessage.Abort.class)) {
          try {
            StrictJson.read(input, type);
          } catch (IllegalArgumentException refused) {
            // As it should.
          }
        }
        try {
          Token token = Token.read(new String(input, StandardCharsets.UTF_8));
          token.expiry();
          token.address();
          token.id();
        } catch (IllegalArgumentException refused) {
          // As it should.
        }
      }
    };
  }

  /** The query language, parsed and evaluated for an object of the class. */
  static Surface query() {
    ClassDef vm = DataModel.classDef("VM");
    Row row =
        new Row() {
          @Override
          public String className() {
            return "VM";
          }

          @Override
          public String ref() {
            return "OpaqueRef:1";
          }

          @Override
          public long created() {
            return 1;
          }

          @Override
          public long modified() {
            return 1;
          }

          @Override
          public Value get(FieldDef field) {
            return field.initial();
          }
        };
    return new Surface() {
      @Override
      public List<byte[]> seeds() {
        return List.of(
            utf8("true"),
            utf8("field \"name__label\" = \"a\""),
            utf8("(field \"is_a_template\" = \"false\") and (field \"power_state\" = \"Running\")"),
            utf8("not (field \"_ref\" = \"OpaqueRef:1\" or 'x' = \"\\\"y\\\\\") and false"));
      }

      @Override
      public void take(byte[] input) {
        try {
          Query.parse(vm, new String(input, StandardCharsets.UTF_8)).matches(row);
        } catch (XenApiException refused) {
          require(refused.code().equals("INVALID_VALUE"), refused.code());
        }
      }
    };
  }

  /** The protocol between xe and the server, and the body that xe sends. */
  static Surface xeMessage() {
    return new Surface() {
      @Override
      public List<byte[]> seeds() throws IOException {
        ByteArrayOutputStream greeting = new ByteArrayOutputStream();
        Greeting.OURS.write(greeting);
        return List.of(
            greeting.toByteArray(),
            MessageCodec.encode(new Message.Print("a line")),
            MessageCodec.encode(new Message.HttpConnect("/console?ref=x")),
            MessageCodec.encode(new Message.Chunk(5)),
            MessageCodec.encode(new Message.Exit(1)),
            RequestBody.join(List.of("vm-list", "params=all", "name-label=\u00e4")));
      }

      @Override
      public void take(byte[] input) throws IOException {
        try {
          Message message = MessageCodec.read(new ByteArrayInputStream(input), 1 << 16);
          byte[] again = MessageCodec.encode(message);
          require(
              MessageCodec.read(new ByteArrayInputStream(again), again.length).equals(message),
              "written and read again it is different");
        } catch (IOException refused) {
          // As it should.
        }
        try {
          Greeting.read(new ByteArrayInputStream(input));
        } catch (IOException refused) {
          // As it should.
        }
        List<String> arguments;
        try {
          arguments = RequestBody.split(input);
        } catch (IOException refused) {
          return;
        }
        // One carriage return at the end of an argument is dropped.
        require(
            arguments.stream().anyMatch(argument -> argument.endsWith("\r"))
                || RequestBody.split(RequestBody.join(arguments)).equals(arguments),
            "not the same arguments");
      }
    };
  }
}
