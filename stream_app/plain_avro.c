/* Plain Avro datums as columns.
 *
 * Plain: a datum of the schema to its last byte, text in ASCII, each wanted field of the type that is wanted or null, numbers
 * from 0 to 2^53. Such a datum has one meaning only. All others are left to schemas/avro_columns.py and parse_avro.sql,
 * which know the rest of Avro, so nothing here says that a record is bad.
 *
 * Allocates nothing, keeps no state, reads within each record's bounds. Called through ctypes (plain_avro.py).
 */
#include "plain.h"

#define HEADER 5      /* magic byte and schema id, of Confluent's wire format */
#define MOST_NUMBER 9007199254740992.0

/* As in plain_avro.py. */
enum { NOTHING, BOOLEAN, LONG, FLOAT, DOUBLE, STRING, BYTES };

/* The schema's fields. kinds[kind_ends[i - 1]] to kinds[kind_ends[i]] are the types that field i may have: more than one,
 * or is_union, for a union. slots[i] says where its values go, -1 for nowhere: slots below `texts` hold text, those below
 * `integers` any number, the others up to `count` whole numbers below 2^31. Numbers are divided by per_second[i]. */
typedef struct {
    const int32_t *slots, *kind_ends;
    const uint8_t *is_union, *kinds;
    const double *per_second;
    int32_t fields, texts, integers;
} Schema;

static inline int take_long(Cursor *c, int64_t *value) {
    uint64_t number = 0;
    for (int shift = 0; shift < 70 && c->at < c->end; shift += 7) {
        const uint8_t byte = *c->at++;
        if (shift == 63 && byte > 1) return 0;
        number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = (int64_t)(number >> 1) ^ -(int64_t)(number & 1);
            return 1;
        }
    }
    return 0;
}

static inline int is_ascii(const uint8_t *text, int64_t length) {
    uint64_t odd = 0, word;
    for (; length >= 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        odd |= word;
    }
    for (; length > 0; text++, length--) odd |= *text;
    return (odd & UINT64_C(0x8080808080808080)) == 0;
}

static int read_datum(Cursor c, const uint8_t *data, const Schema *s, Row *row) {
    uint32_t seen = 0;
    if (c.end - c.at < HEADER) return 0;
    c.at += HEADER;
    for (int32_t field = 0; field < s->fields; field++) {
        int32_t first = field ? s->kind_ends[field - 1] : 0;
        const int32_t slot = s->slots[field], branches = s->kind_ends[field] - first;
        int64_t whole;
        double number;
        if (s->is_union[field]) {
            if (!take_long(&c, &whole) || whole < 0 || whole >= branches) return 0;
            first += (int32_t)whole;
        }
        const uint8_t kind = s->kinds[first];
        if (kind == NOTHING) continue;
        if (slot >= 0) {
            if (seen >> slot & 1) return 0;
            seen |= UINT32_C(1) << slot;
            if ((kind == STRING) != (slot < s->texts) || kind == BOOLEAN || kind == BYTES) return 0;
            if (slot >= s->integers && kind != LONG) return 0;
        }
        switch (kind) {
        case BOOLEAN:
            if (c.at == c.end || *c.at++ > 1) return 0;
            continue;
        case LONG:
            if (!take_long(&c, &whole)) return 0;
            if (slot >= s->integers && whole > INT32_MAX) return 0;
            number = (double)whole;
            break;
        case FLOAT: {
            float single;
            if (c.end - c.at < (int64_t)sizeof single) return 0;
            memcpy(&single, c.at, sizeof single);
            c.at += sizeof single;
            number = single;
            break;
        }
        case DOUBLE:
            if (c.end - c.at < (int64_t)sizeof number) return 0;
            memcpy(&number, c.at, sizeof number);
            c.at += sizeof number;
            break;
        default: /* STRING, BYTES */
            if (!take_long(&c, &whole) || whole < 0 || whole > c.end - c.at) return 0;
            if (kind == STRING && !is_ascii(c.at, whole)) return 0;
            if (slot >= 0) {
                row->begins[slot] = (int32_t)(c.at - data);
                row->lengths[slot] = (int32_t)whole;
            }
            c.at += whole;
            continue;
        }
        if (slot < 0) continue;
        if (!(number >= 0 && number <= MOST_NUMBER)) return 0; /* NaN is neither */
        row->numbers[slot - s->texts] = number / s->per_second[field];
        row->lengths[slot] = 0;
    }
    return c.at == c.end;
}

/* Read records, each with its header; all else as in plain_json_read. Bytes are those of a little-endian machine. */
void plain_avro_read(const uint8_t *data, const int32_t *offsets, int64_t rows, const int32_t *field_slots,
                     const int32_t *kind_ends, const uint8_t *is_union, const uint8_t *kinds, const double *per_second,
                     int32_t fields, int32_t texts, int32_t integers, int32_t slots, int32_t *begins, int32_t *lengths,
                     double *numbers, int64_t *sizes, uint8_t *is_plain) {
    const Schema schema = {field_slots, kind_ends, is_union, kinds, per_second, fields, texts, integers};
    const Columns columns = {rows, texts, slots, begins, lengths, numbers, sizes, is_plain};
    Row row = {0};
    memset(sizes, 0, (size_t)texts * sizeof *sizes);
    for (int64_t number = 0; number < rows; number++) {
        const Cursor record = {data + offsets[number], data + offsets[number + 1]};
        clear(&row, &columns);
        keep(&columns, number, &row, read_datum(record, data, &schema, &row));
    }
}
