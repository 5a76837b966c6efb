/* tokenizer_image.c -- making a tokenizer's image from its settings, and checking one that comes from a file. */
#include "encoder/tokenizer_image.h"

#include "common/memory.h"
#include "encoder/characters.h"
#include "encoder/pieces.h"

#include <stddef.h>

static const char image_magic[8] = {'m', 'n', 'T', 'O', 'K', 'E', 'N', 'S'};

enum { SECTION_ALIGNMENT = 64, HASHED_FROM = offsetof(mn_tokenizer_image, version) };

static uint64_t head_hash(const mn_tokenizer_image *image)
{
    return XXH3_64bits((const char *)image + HASHED_FROM, sizeof *image - HASHED_FROM);
}

static uint64_t round_up(uint64_t offset)
{
    return (offset + SECTION_ALIGNMENT - 1) / SECTION_ALIGNMENT * SECTION_ALIGNMENT;
}

/* ---- making one ---- */

typedef struct image_builder {
    const char *folder;
    const mn_tokenizer_settings *settings;
    const mn_vocabulary *vocabulary;
    mn_tokenizer_image head, *image; /* image: the whole, once there is room for it */
    uint32_t *places;                /* of each token of the list in token_bytes, prefix included */
} image_builder;

static uint32_t rules_of(const mn_tokenizer_settings *s)
{
    return (s->clean_text ? MN_CLEAN_TEXT : 0u) | (s->handle_chinese_chars ? MN_HANDLE_CHINESE_CHARS : 0u) |
           (s->strip_accents ? MN_STRIP_ACCENTS : 0u) | (s->lowercase ? MN_LOWERCASE : 0u);
}

static mneme_status find_special(const image_builder *b, const char *token, uint32_t *id, mneme_error *error)
{
    *id = mn_vocabulary_find_token(b->vocabulary, token);
    if (*id != MN_NO_TOKEN) return MNEME_OK;
    return mn_fail(error, MNEME_ERR_MODEL, "model %s: the vocabulary has no %s", b->folder, token);
}

/* Equal for equal ids of every text; stores keep it, so that what it is made of stays as it is. */
static uint64_t fingerprint_of(const image_builder *b)
{
    const mn_tokenizer_settings *s = b->settings;
    const uint64_t parts[] = {mn_vocabulary_fingerprint(b->vocabulary),
                              s->clean_text,
                              s->handle_chinese_chars,
                              s->strip_accents,
                              s->lowercase,
                              s->max_input_chars_per_word,
                              b->head.cls,
                              b->head.sep,
                              b->head.unk};
    return XXH3_64bits(parts, sizeof parts);
}

static bool is_alnum(unsigned c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static void fill_byte_kinds(const image_builder *b, mn_tokenizer_image *head)
{
    bool whole_runs = true;
    for (size_t i = 0; i < b->settings->n_added; i++)
        if (is_alnum((unsigned char)b->settings->added[i].content[0])) whole_runs = false;
    for (uint32_t c = 0; c < 256; c++)
        head->byte_kind[c] = (uint8_t)(c >= 128                    ? MN_BYTE_HIGH
                                       : is_alnum(c) && whole_runs ? MN_BYTE_ALNUM
                                                                   : mn_char_classify(head->rules, c));
    for (size_t i = 0; i < b->settings->n_added; i++)
        head->byte_kind[(unsigned char)b->settings->added[i].content[0]] |= MN_BYTE_ADDED;
}

/* Does a word ever begin with the prefix? Not with "##": punctuation is a word of its own. */
static bool prefix_begins_words(const image_builder *b)
{
    return b->vocabulary->prefix_size &&
           mn_char_classify(b->head.rules, (unsigned char)b->vocabulary->prefix[0]) == MN_CHAR_WORD;
}

static void lay_out_sections(image_builder *b)
{
    mn_tokenizer_image *head = &b->head;
    const mn_vocabulary *vocabulary = b->vocabulary;
    size_t n_pieces = prefix_begins_words(b) ? 2 * vocabulary->n : vocabulary->n, text = vocabulary->bytes.size;
    for (size_t i = 0; i < vocabulary->n; i++) text += vocabulary->tokens[i].continuing ? vocabulary->prefix_size : 0;
    head->slot_bits = 6;
    while (((size_t)1 << head->slot_bits) < 2 * n_pieces) head->slot_bits++;
    head->sizes[MN_SECTION_SLOTS] = sizeof(mn_piece_slot) << head->slot_bits;
    head->sizes[MN_SECTION_LENGTHS] = MN_IMAGE_LENGTHS * sizeof(uint32_t);
    head->sizes[MN_SECTION_CHARACTERS] = MN_IMAGE_CHARACTERS * sizeof(uint16_t);
    head->sizes[MN_SECTION_TOKEN_STARTS] = ((uint64_t)head->n_tokens + 1) * sizeof(uint32_t);
    head->sizes[MN_SECTION_TOKEN_BYTES] = text;
    head->sizes[MN_SECTION_ADDED] = b->settings->n_added * sizeof(mn_image_added);
    for (size_t i = 0; i < b->settings->n_added; i++) head->sizes[MN_SECTION_ADDED_BYTES] += b->settings->added[i].size;
    uint64_t end = sizeof *head;
    for (int i = 0; i < MN_IMAGE_SECTIONS; i++) {
        head->offsets[i] = round_up(end);
        end = head->offsets[i] + head->sizes[i];
    }
    head->size = round_up(end);
}

static mneme_status fill_head(image_builder *b, mneme_error *error)
{
    mn_tokenizer_image *head = &b->head;
    const mn_tokenizer_settings *settings = b->settings;
    memcpy(head->magic, image_magic, sizeof image_magic);
    head->version = MN_IMAGE_VERSION;
    head->head_size = sizeof *head;
    mneme_status status = find_special(b, settings->unk_token, &head->unk, error);
    if (status == MNEME_OK) status = find_special(b, settings->cls_token, &head->cls, error);
    if (status == MNEME_OK) status = find_special(b, settings->sep_token, &head->sep, error);
    if (status != MNEME_OK) return status;
    head->rules = rules_of(settings);
    head->word_chars_max = settings->max_input_chars_per_word;
    head->n_tokens = head->n_ids = b->vocabulary->largest_id + 1;
    head->n_added = (uint32_t)settings->n_added;
    for (size_t i = 0; i < settings->n_added; i++)
        if (settings->added[i].id >= head->n_ids) head->n_ids = settings->added[i].id + 1;
    head->prefix_size = (uint32_t)b->vocabulary->prefix_size;
    head->continuing = b->vocabulary->prefix_size > 0;
    head->fingerprint = fingerprint_of(b);
    fill_byte_kinds(b, head);
    lay_out_sections(b);
    return MNEME_OK;
}

static void *section(const image_builder *b, mn_image_section which)
{
    return (char *)b->image + b->head.offsets[which];
}

/* Write the tokens by id; tokens that another one of the same id has replaced go behind them. */
static mneme_status fill_tokens(image_builder *b, mneme_error *error)
{
    const mn_vocabulary *vocabulary = b->vocabulary;
    uint32_t *starts = section(b, MN_SECTION_TOKEN_STARTS), end = 0;
    char *bytes = section(b, MN_SECTION_TOKEN_BYTES);
    uint32_t *last = mn_alloc_zeroed(b->head.n_tokens, sizeof *last); /* per id: place in the list + 1 */
    b->places = mn_alloc_array(vocabulary->n, sizeof *b->places);
    if (!last || !b->places) {
        mn_free(last);
        return mn_fail_memory(error, "tokenizer");
    }
    for (size_t i = 0; i < vocabulary->n; i++) last[vocabulary->tokens[i].id] = (uint32_t)i + 1;
    for (size_t step = 0; step < b->head.n_tokens + vocabulary->n; step++) {
        bool by_id = step < b->head.n_tokens;
        if (by_id) starts[step] = end;
        size_t i = by_id ? last[step] : step - b->head.n_tokens + 1;
        if (i == 0 || (!by_id && last[vocabulary->tokens[i - 1].id] == i)) continue;
        const mn_vocabulary_token *token = &vocabulary->tokens[i - 1];
        b->places[i - 1] = end;
        size_t prefix = token->continuing ? vocabulary->prefix_size : 0;
        memcpy(bytes + end, vocabulary->prefix, prefix);
        memcpy(bytes + end + prefix, vocabulary->bytes.data + token->offset, token->size);
        end += (uint32_t)(prefix + token->size);
        if (by_id) starts[step + 1] = end;
    }
    mn_free(last);
    return MNEME_OK;
}

/* Put a piece of token_bytes into the table; an equal one is replaced. */
static void put_piece(image_builder *b, uint32_t place, size_t size, uint32_t continuing, uint32_t id)
{
    const char *text = section(b, MN_SECTION_TOKEN_BYTES), *piece = text + place;
    mn_piece_slot *slots = section(b, MN_SECTION_SLOTS);
    uint32_t *lengths = section(b, MN_SECTION_LENGTHS);
    char first[MN_WORD_PADDING] = {0};
    if (size == 0) return;
    memcpy(first, piece, size < sizeof first ? size : sizeof first);
    bool is_short = size <= MN_PIECE_INLINE;
    mn_piece_key key = is_short ? mn_short_key(mn_load8(first), mn_load8(first + 8), size, continuing)
                                : mn_long_key(piece, size, continuing);
    size_t mask = ((size_t)1 << b->head.slot_bits) - 1, at = mn_key_slot(key, b->head.slot_bits);
    uint32_t probes = 0;
    for (;; at = (at + 1) & mask, probes++) {
        const mn_piece_slot *slot = &slots[at];
        if (slot->meta == 0) break;
        if (slot->low != key.low || (slot->meta & 0xFF) != key.tag) continue;
        if (is_short ? slot->high == key.high : memcmp(text + slot->high, piece, size) == 0) break;
    }
    slots[at] = (mn_piece_slot){.low = key.low, .high = is_short ? key.high : place, .meta = id << 8 | key.tag};
    if (probes > b->head.probes_max) b->head.probes_max = probes;
    if (size > b->head.longest[0]) b->head.longest[0] = (uint32_t)size;
    if (size > b->head.longest[1] && continuing == b->head.continuing) b->head.longest[1] = (uint32_t)size;
    if (size > 3) lengths[mn_lengths_place((uint32_t)mn_load8(first), continuing)] |= 1u << (size < 31 ? size : 31);
}

static void fill_pieces(image_builder *b)
{
    const mn_vocabulary *vocabulary = b->vocabulary;
    bool both = prefix_begins_words(b);
    for (size_t i = 0; i < vocabulary->n; i++) {
        const mn_vocabulary_token *token = &vocabulary->tokens[i];
        size_t prefix = token->continuing ? vocabulary->prefix_size : 0;
        put_piece(b, b->places[i] + (uint32_t)prefix, token->size, token->continuing, token->id);
        if (token->continuing && both) put_piece(b, b->places[i], prefix + token->size, 0, token->id);
    }
}

static uint16_t map_character(uint32_t rules, uint32_t c)
{
    mn_char_class class = mn_char_classify(rules, c);
    if (class == MN_CHAR_DROP) return MN_MAP_DROP;
    if (class == MN_CHAR_SPACE) return MN_MAP_SPACE;
    mn_char_part parts[MN_CHAR_PARTS_MAX];
    size_t n = mn_char_normalize(rules, c, parts);
    if (n == 0 && class == MN_CHAR_WORD) return MN_MAP_DROP;
    if (n != 1 || parts[0].alone || parts[0].c > 0x7FFF || parts[0].c <= MN_MAP_SLOW) return MN_MAP_SLOW;
    return (uint16_t)(parts[0].c << 1 | (class == MN_CHAR_ALONE));
}

static void fill_characters(image_builder *b)
{
    uint16_t *characters = section(b, MN_SECTION_CHARACTERS);
    for (uint32_t c = 0; c < MN_IMAGE_CHARACTERS; c++) characters[c] = map_character(b->head.rules, c);
}

static void fill_added(image_builder *b)
{
    mn_image_added *added = section(b, MN_SECTION_ADDED);
    char *bytes = section(b, MN_SECTION_ADDED_BYTES);
    uint32_t end = 0;
    for (size_t i = 0; i < b->settings->n_added; i++) {
        const mn_added_token *token = &b->settings->added[i];
        added[i] = (mn_image_added){.offset = end, .size = (uint32_t)token->size, .id = token->id};
        memcpy(bytes + end, token->content, token->size);
        end += (uint32_t)token->size;
    }
}

/* Ids of ASCII characters as words: looked up once here. */
static void fill_ascii_ids(image_builder *b)
{
    struct mn_tokenizer view = {
        .image = &b->head, .slots = section(b, MN_SECTION_SLOTS), .slot_mask = ((size_t)1 << b->head.slot_bits) - 1};
    for (uint32_t c = 0; c < 128; c++) {
        uint32_t id = mn_find_short(&view, mn_short_key(c, 0, 1, 0));
        b->head.ascii_ids[c] = id == MN_NO_TOKEN ? b->head.unk : id;
    }
}

mneme_status mn_image_build(const char *folder, const mn_tokenizer_settings *settings, mn_tokenizer_image **out,
                            mneme_error *error)
{
    *out = NULL;
    image_builder b = {.folder = folder, .settings = settings, .vocabulary = settings->vocabulary};
    mneme_status status = fill_head(&b, error);
    if (status != MNEME_OK) return status;
    b.image = mn_alloc_aligned(SECTION_ALIGNMENT, (size_t)b.head.size);
    if (!b.image) return mn_fail_memory(error, "tokenizer");
    memset(b.image, 0, (size_t)b.head.size);
    status = fill_tokens(&b, error);
    if (status == MNEME_OK) {
        fill_pieces(&b);
        fill_characters(&b);
        fill_added(&b);
        fill_ascii_ids(&b);
        b.head.head_hash = head_hash(&b.head);
        *b.image = b.head;
        *out = b.image;
    } else {
        mn_free(b.image);
    }
    mn_free(b.places);
    return status;
}

/* ---- checking one ---- */

static const char *wrong_sections(const mn_tokenizer_image *head)
{
    for (int i = 0; i < MN_IMAGE_SECTIONS; i++)
        if (head->offsets[i] % SECTION_ALIGNMENT || head->offsets[i] < sizeof *head || head->offsets[i] > head->size ||
            head->sizes[i] > head->size - head->offsets[i])
            return "a section lies outside";
    if (head->slot_bits < 6 || head->slot_bits > 26 ||
        head->sizes[MN_SECTION_SLOTS] != sizeof(mn_piece_slot) << head->slot_bits)
        return "its table has another size";
    if (head->sizes[MN_SECTION_LENGTHS] != MN_IMAGE_LENGTHS * sizeof(uint32_t) ||
        head->sizes[MN_SECTION_CHARACTERS] != MN_IMAGE_CHARACTERS * sizeof(uint16_t) ||
        head->sizes[MN_SECTION_TOKEN_STARTS] != ((uint64_t)head->n_tokens + 1) * sizeof(uint32_t) ||
        head->n_added > MN_ADDED_TOKENS_MAX || head->sizes[MN_SECTION_ADDED] != head->n_added * sizeof(mn_image_added))
        return "a section has another size";
    return NULL;
}

static const char *wrong_values(const mn_tokenizer_image *head)
{
    if (head->n_ids == 0 || head->n_ids > MN_VOCABULARY_MAX || head->n_tokens > head->n_ids ||
        head->unk >= head->n_ids || head->cls >= head->n_ids || head->sep >= head->n_ids)
        return "an id is out of range";
    for (size_t c = 0; c < 128; c++)
        if (head->ascii_ids[c] >= head->n_ids) return "an id is out of range";
    if (head->word_chars_max < 1 || head->word_chars_max > MN_WORD_CHARS_MAX ||
        (head->rules & ~(unsigned)MN_CHARACTER_RULES) || head->continuing > 1 || head->probes_max >> head->slot_bits)
        return "a setting is out of range";
    return NULL;
}

static const char *wrong_added(const struct mn_tokenizer *view)
{
    uint64_t room = view->image->sizes[MN_SECTION_ADDED_BYTES];
    for (size_t i = 0; i < view->image->n_added; i++) {
        const mn_image_added *added = &view->added[i];
        if (added->size == 0 || added->size > room || added->offset > room - added->size)
            return "an added token lies outside";
        if (added->id >= view->image->n_ids) return "an id is out of range";
    }
    return NULL;
}

static const char *wrong_head(const void *data, size_t size)
{
    const mn_tokenizer_image *head = data;
    if ((uintptr_t)data % 8) return "it is not aligned";
    if (size < sizeof *head || memcmp(head->magic, image_magic, sizeof image_magic) != 0) return "it is none";
    if (head->version != MN_IMAGE_VERSION || head->head_size != sizeof *head) return "it is of another version";
    if (head->head_hash != head_hash(head)) return "its head is damaged";
    if (head->size > size) return "it is cut short";
    const char *wrong = wrong_sections(head);
    return wrong ? wrong : wrong_values(head);
}

mneme_status mn_image_view(const void *data, size_t size, struct mn_tokenizer *out, mneme_error *error)
{
    const char *wrong = wrong_head(data, size), *base = data;
    if (!wrong) {
        const mn_tokenizer_image *head = data;
        out->image = head;
        out->slots = (const void *)(base + head->offsets[MN_SECTION_SLOTS]);
        out->lengths = (const void *)(base + head->offsets[MN_SECTION_LENGTHS]);
        out->characters = (const void *)(base + head->offsets[MN_SECTION_CHARACTERS]);
        out->token_starts = (const void *)(base + head->offsets[MN_SECTION_TOKEN_STARTS]);
        out->token_bytes = base + head->offsets[MN_SECTION_TOKEN_BYTES];
        out->added = (const void *)(base + head->offsets[MN_SECTION_ADDED]);
        out->added_bytes = base + head->offsets[MN_SECTION_ADDED_BYTES];
        out->slot_mask = ((size_t)1 << head->slot_bits) - 1;
        wrong = wrong_added(out);
    }
    return wrong ? mn_fail(error, MNEME_ERR_MODEL, "frozen tokenizer: %s; it must be made again", wrong) : MNEME_OK;
}
