/* Plain JSON records as columns.
 *
 * Plain: one flat object, each wanted field at most once, text in ASCII without escapes, numbers without sign and
 * exponent that a double holds correctly rounded. Such a record has one meaning only. All others are left to
 * parse_json.sql, which knows the rest of JSON, so nothing here says that a record is bad.
 *
 * Allocates nothing, keeps no state, reads within each record's bounds. Called through ctypes (plain_json.py).
 */
#include "plain.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* What to look for: the names, one behind the other, and for each the slot that its value goes to. Two names may share a
 * slot. Slots below `texts` hold text, those below `integers` any number, the others up to `slots` whole numbers below
 * 2^31. */
typedef struct {
    const uint8_t *names;
    const int32_t *name_ends;
    const int32_t *name_slots;
    int32_t count, texts, integers, slots;
} Fields;

static const double POWERS[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,
                                1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17};
#define MOST_DIGITS 17

static inline void skip_space(Cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t')) c->at++;
}

static inline int take(Cursor *c, uint8_t wanted) {
    if (c->at == c->end || *c->at != wanted) return 0;
    c->at++;
    return 1;
}

static inline int take_word(Cursor *c, const char *word, int64_t length) {
    if (c->end - c->at < length || memcmp(c->at, word, (size_t)length) != 0) return 0;
    c->at += length;
    return 1;
}

/* From behind an opening quote to behind the closing one; the text's length, -1 where it isn't plain. */
static inline int64_t take_text(Cursor *c) {
    const uint8_t *from = c->at;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    while (c->end - c->at >= 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)c->at);
        /* compared as signed: control characters and all that isn't ASCII are below a space */
        const __m128i odd = _mm_or_si128(_mm_cmplt_epi8(bytes, space), _mm_cmpeq_epi8(bytes, backslash));
        const int found = _mm_movemask_epi8(_mm_or_si128(odd, _mm_cmpeq_epi8(bytes, quote)));
        if (found) {
            c->at += __builtin_ctz((unsigned)found);
            break;
        }
        c->at += 16;
    }
#endif
    for (; c->at < c->end; c->at++) {
        if (*c->at == '"') return c->at++ - from;
        if (*c->at < ' ' || *c->at > 0x7f || *c->at == '\\') return -1;
    }
    return -1;
}

static inline int is_digit(const Cursor *c) { return c->at < c->end && *c->at >= '0' && *c->at <= '9'; }

static inline int take_number(Cursor *c, double *value, int is_integer) {
    uint64_t number = 0;
    int digits = 0, decimals = 0;
    if (is_digit(c) && *c->at == '0') { /* nothing but a point may follow */
        c->at++;
        digits = 1;
    } else {
        for (; digits < MOST_DIGITS && is_digit(c); digits++) number = 10 * number + (uint64_t)(*c->at++ - '0');
    }
    if (digits == 0) return 0;
    if (!is_integer && take(c, '.')) {
        for (; digits + decimals < MOST_DIGITS && is_digit(c); decimals++)
            number = 10 * number + (uint64_t)(*c->at++ - '0');
        if (decimals == 0) return 0;
    }
    /* of a larger number a double need not hold both parts of the quotient exactly */
    if (is_digit(c) || number > (is_integer ? INT32_MAX : UINT64_C(1) << 53)) return 0;
    *value = (double)number / POWERS[decimals];
    return 1;
}

/* A value that nobody asks for. */
static inline int take_scalar(Cursor *c) {
    double ignored;
    if (take(c, '"')) return take_text(c) >= 0;
    return take_word(c, "null", 4) || take_word(c, "true", 4) || take_word(c, "false", 5) || take_number(c, &ignored, 0);
}

static inline int is_name(const Fields *f, int32_t place, const uint8_t *text, int64_t length) {
    const int32_t from = place ? f->name_ends[place - 1] : 0;
    return f->name_ends[place] - from == length && memcmp(f->names + from, text, (size_t)length) == 0;
}

/* From behind an opening quote to behind the closing one: a field's place among the names, `count` for another name, -1
 * for one that isn't plain. */
static inline int32_t take_name(Cursor *c, const Fields *f, int32_t guess) {
    if (guess < f->count) {
        const int32_t length = f->name_ends[guess] - (guess ? f->name_ends[guess - 1] : 0);
        if (c->end - c->at > length && c->at[length] == '"' && is_name(f, guess, c->at, length)) {
            c->at += length + 1;
            return guess;
        }
    }
    const uint8_t *text = c->at;
    const int64_t length = take_text(c);
    if (length < 0) return -1;
    for (int32_t place = 0; place < f->count; place++)
        if (is_name(f, place, text, length)) return place;
    return f->count;
}

enum { NOT_PLAIN, PLAIN, WITH_OTHERS };

/* Read one record: whether it is plain, and then whether it has other fields than the wanted. `order` has the places of
 * the former record's names, since most records have them in one order. */
static int read_record(Cursor c, const uint8_t *data, const Fields *f, int32_t *order, Row *row) {
    uint32_t seen = 0;
    int32_t nth = 0;
    int found = PLAIN;
    skip_space(&c);
    if (!take(&c, '{')) return NOT_PLAIN;
    skip_space(&c);
    if (!take(&c, '}')) {
        do {
            skip_space(&c);
            if (!take(&c, '"')) return NOT_PLAIN;
            const int32_t place = take_name(&c, f, nth < MOST_SLOTS ? order[nth] : f->count);
            if (place < 0) return NOT_PLAIN;
            if (nth < MOST_SLOTS) order[nth++] = place;
            skip_space(&c);
            if (!take(&c, ':')) return NOT_PLAIN;
            skip_space(&c);
            if (place == f->count) {
                if (!take_scalar(&c)) return NOT_PLAIN;
                found = WITH_OTHERS;
            } else {
                const int32_t slot = f->name_slots[place];
                if (seen >> slot & 1) return NOT_PLAIN;
                seen |= UINT32_C(1) << slot;
                if (take_word(&c, "null", 4)) {
                    /* as if it were absent */
                } else if (slot >= f->texts) {
                    if (!take_number(&c, &row->numbers[slot - f->texts], slot >= f->integers)) return NOT_PLAIN;
                    row->lengths[slot] = 0;
                } else {
                    if (!take(&c, '"')) return NOT_PLAIN;
                    row->begins[slot] = (int32_t)(c.at - data);
                    const int64_t length = take_text(&c);
                    if (length < 0) return NOT_PLAIN;
                    row->lengths[slot] = (int32_t)length;
                }
            }
            skip_space(&c);
        } while (take(&c, ','));
        if (!take(&c, '}')) return NOT_PLAIN;
    }
    skip_space(&c);
    return c.at == c.end ? found : NOT_PLAIN;
}

/* Read records: `data` and `offsets` (offsets[0] to offsets[rows]) are those of an Arrow binary array, what is filled those
 * of Columns; kinds as named above. */
void plain_json_read(const uint8_t *data, const int32_t *offsets, int64_t rows, const uint8_t *names,
                     const int32_t *name_ends, const int32_t *name_slots, int32_t count, int32_t texts, int32_t integers,
                     int32_t slots, int32_t *begins, int32_t *lengths, double *numbers, int64_t *sizes, uint8_t *kinds) {
    const Fields fields = {names, name_ends, name_slots, count, texts, integers, slots};
    const Columns columns = {rows, texts, slots, begins, lengths, numbers, sizes, kinds};
    int32_t order[MOST_SLOTS] = {0};
    Row row = {0};
    memset(sizes, 0, (size_t)texts * sizeof *sizes);
    for (int64_t number = 0; number < rows; number++) {
        const Cursor record = {data + offsets[number], data + offsets[number + 1]};
        clear(&row, &columns);
        keep(&columns, number, &row, read_record(record, data, &fields, order, &row));
    }
}

/* Make one slot's Arrow array: `valid` has a bit a row. For text, `offsets` and `text` are made too; else they are null.
 * Returns how many rows are null. */
int64_t plain_json_gather(const uint8_t *data, const int32_t *begins, const int32_t *lengths, int64_t rows,
                          uint8_t *valid, int32_t *offsets, uint8_t *text) {
    int32_t end = 0;
    int64_t nulls = 0;
    memset(valid, 0, (size_t)(rows + 7) / 8);
    for (int64_t row = 0; row < rows; row++) {
        if (text) offsets[row] = end;
        if (lengths[row] < 0) {
            nulls++;
            continue;
        }
        valid[row >> 3] |= (uint8_t)(1 << (row & 7));
        if (text) {
            memcpy(text + end, data + begins[row], (size_t)lengths[row]);
            end += lengths[row];
        }
    }
    if (text) offsets[rows] = end;
    return nulls;
}
