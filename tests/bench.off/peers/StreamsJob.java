import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.avro.Schema;
import org.apache.avro.SchemaNormalization;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** The job on Kafka Streams: exactly once, its defaults, runs in a persistent store that is logged and cached. */
public final class StreamsJob {
    private static final int HEADER_BYTES = 10;
    private static final Map<String, String> OUTCOMES = Map.of(
            "completed", "succeeded", "incomplete", "incomplete", "failed", "failed",
            "cancelled", "cancelled", "expired", "expired");
    private static final Map<String, Set<String>> DOCUMENTED = Map.of(
            "queued", Set.of("in_progress"),
            "in_progress",
                    Set.of("requires_action", "completed", "incomplete", "failed", "cancelling", "expired"),
            "requires_action", Set.of("queued", "expired"),
            "cancelling", Set.of("cancelled"));
    private static final Map<String, Set<String>> ACCEPTED = Map.of(
            "queued", Set.of("cancelling", "requires_action"),
            "requires_action", Set.of("in_progress", "cancelling"));

    public static void main(String[] args) throws IOException, NoSuchAlgorithmException {
        String bootstrap = args[0], events = args[1], transitions = args[2], compression = args[3];
        String guarantee = args[4], directory = args[5], schemas = args[6], own = args[7];
        Schema runObject = schema(schemas + "/run_object_v2_1.avsc");
        Schema transition = schema(schemas + "/run_transition.avsc");
        Schema run = schema(own + "/run.avsc");

        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "peer");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, directory);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.producerPrefix("compression.type"), compression);

        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
                        Stores.persistentKeyValueStore("runs"), Serdes.String(), avro(run, new byte[0]))
                .withCachingEnabled());
        byte[] header = ByteBuffer.allocate(HEADER_BYTES)
                .put((byte) 0xC3).put((byte) 1)
                .put(SchemaNormalization.parsingFingerprint("CRC-64-AVRO", transition)).array();
        builder.stream(events, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .process(() -> new Fold(avro(runObject, new byte[HEADER_BYTES]), run, transition), "runs")
                .to(transitions, Produced.with(Serdes.String(), avro(transition, header)));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static Schema schema(String path) throws IOException {
        return new Schema.Parser().parse(new File(path));
    }

    /** An Avro serde for one schema, with a header in front of each value. */
    private static Serde<GenericRecord> avro(Schema schema, byte[] header) {
        GenericDatumWriter<GenericRecord> writer = new GenericDatumWriter<>(schema);
        GenericDatumReader<GenericRecord> reader = new GenericDatumReader<>(schema);
        Serializer<GenericRecord> serializer = (topic, value) -> {
            if (value == null) {
                return null;
            }
            try {
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                out.write(header);
                BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(out, null);
                writer.write(value, encoder);
                encoder.flush();
                return out.toByteArray();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
        Deserializer<GenericRecord> deserializer = (topic, bytes) -> {
            if (bytes == null) {
                return null;
            }
            try {
                int from = header.length;
                return reader.read(null, DecoderFactory.get().binaryDecoder(bytes, from, bytes.length - from, null));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
        return Serdes.serdeFrom(serializer, deserializer);
    }

    /** One event against its run. */
    private static final class Fold implements Processor<byte[], byte[], String, GenericRecord> {
        private final Serde<GenericRecord> runObjects;
        private final Schema runSchema;
        private final Schema transitionSchema;
        private ProcessorContext<String, GenericRecord> context;
        private KeyValueStore<String, GenericRecord> runs;

        Fold(Serde<GenericRecord> runObjects, Schema runSchema, Schema transitionSchema) {
            this.runObjects = runObjects;
            this.runSchema = runSchema;
            this.transitionSchema = transitionSchema;
        }

        @Override
        public void init(ProcessorContext<String, GenericRecord> given) {
            context = given;
            runs = given.getStateStore("runs");
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            GenericRecord event = runObjects.deserializer().deserialize(null, record.value());
            String id = event.get("id").toString();
            String status = event.get("status").toString();
            GenericRecord run = runs.get(id);
            String before = run == null ? null : run.get("status").toString();
            boolean moves = !status.equals(before);
            if (moves ? !mayFollow(before, status) : OUTCOMES.containsKey(status) || same(run, record.value())) {
                return;
            }
            RecordMetadata place = context.recordMetadata().orElseThrow();
            GenericRecord error = (GenericRecord) event.get("last_error");
            GenericRecord after = new GenericData.Record(runSchema);
            after.put("run_id", id);
            after.put("thread_id", event.get("thread_id"));
            after.put("assistant_id", event.get("assistant_id"));
            after.put("model", event.get("model"));
            after.put("status", status);
            after.put("status_since", moves ? record.timestamp() : run.get("status_since"));
            after.put("created_at", run == null ? event.get("created_at") : run.get("created_at"));
            Object started = run == null ? null : run.get("started_at");
            after.put("started_at", started == null ? event.get("started_at") : started);
            Object expires = event.get("expires_at");
            after.put("expires_at", expires == null && run != null ? run.get("expires_at") : expires);
            after.put("transitions", (run == null ? 0L : (Long) run.get("transitions")) + (moves ? 1L : 0L));
            after.put("error_code", error == null ? null : error.get("code"));
            after.put("source_offset", place.offset());
            after.put("event", ByteBuffer.wrap(record.value()));
            runs.put(id, after);
            if (moves) {
                context.forward(new Record<>(
                        id, transition(run, before, after, record.timestamp(), place), record.timestamp(),
                        headers(place)));
            }
        }

        private static boolean same(GenericRecord run, byte[] value) {
            return run.get("event").equals(ByteBuffer.wrap(value));
        }

        private static boolean mayFollow(String before, String status) {
            if (before == null) {
                return true;
            }
            if (OUTCOMES.containsKey(before)) {
                return false;
            }
            boolean known = DOCUMENTED.containsKey(before) && DOCUMENTED.containsKey(status);
            return !known
                    || DOCUMENTED.get(before).contains(status)
                    || ACCEPTED.getOrDefault(before, Set.of()).contains(status);
        }

        private GenericRecord transition(
                GenericRecord run, String before, GenericRecord after, long timestamp, RecordMetadata place) {
            String status = (String) after.get("status");
            GenericRecord made = new GenericData.Record(transitionSchema);
            for (String field : Arrays.asList("run_id", "thread_id", "assistant_id", "model", "error_code")) {
                made.put(field, after.get(field));
            }
            made.put("from_status", before);
            made.put("to_status", status);
            made.put("occurred_at", timestamp);
            made.put("in_from_ms", run == null ? null : Math.max(0L, timestamp - (Long) run.get("status_since")));
            made.put("expected", before == null
                    ? status.equals("queued")
                    : DOCUMENTED.getOrDefault(before, Set.of()).contains(status));
            made.put("outcome", OUTCOMES.get(status));
            made.put("source_topic", place.topic());
            made.put("source_partition", place.partition());
            made.put("source_offset", place.offset());
            made.put("attempt", 1L);
            return made;
        }

        private static Headers headers(RecordMetadata place) {
            Headers headers = new RecordHeaders();
            headers.add("ce_specversion", bytes("1.0"));
            headers.add("ce_type", bytes("streamproc.run.transition"));
            headers.add("ce_source", bytes("/peer/transitions"));
            headers.add("content-type", bytes("application/avro"));
            headers.add("ce_id", bytes(place.topic() + ":" + place.partition() + ":" + place.offset()));
            return headers;
        }

        private static byte[] bytes(String text) {
            return text.getBytes(StandardCharsets.UTF_8);
        }
    }
}
