/* Following what a strategy's `next` only looks at.
 *
 * Belongs here: the steps of research/engine/looking.py, on values of types that run no code of anybody's when they are
 * read. Does not belong here: anything that changes something: there the function itself begins, from its beginning.
 *
 * Nothing can change while a program is followed, so values are borrowed from the objects that hold them.
 */

#include "orders.h"

enum { MOST = 24, PATIENCE = 100, LONGEST = 20000 };

enum step {
    ACT, VARIABLE, STORE, CONSTANT, GLOBAL, ATTRIBUTE, METHOD, ITEM, COMPARE, IS, NOT, NEGATIVE, ADD, SUBTRACT, MULTIPLY,
    DIVIDE, POP, COPY, SWAP, CALL, ITERATE, EACH, EACH_KEPT, JUMP, IF_FALSE, IF_TRUE, IF_NONE, IF_NOT_NONE,
    IF_FALSE_OR_POP, IF_TRUE_OR_POP, RETURN, STEPS
};

static const char *const step_names[STEPS] = {
    "act", "variable", "store", "constant", "global", "attribute", "method", "item", "compare", "is", "not", "negative",
    "+", "-", "*", "/", "pop", "copy", "swap", "call", "iterate", "each", "each_kept", "jump", "if_false", "if_true",
    "if_none", "if_not_none", "if_false_or_pop", "if_true_or_pop", "return"};

/* A value at hand; borrowed. A number that was computed has no object. */
typedef struct {
    PyObject *thing;
    Number number; /* of a number; of an iteration, the place in the list */
    enum { VALUE, ITERATION, GETPOSITION } role;
} Value;

/* What an attribute of a type's objects is. */
enum kind { UNKNOWN, OWN, OWN_OR_CLASS, POSITION_OF, GETPOSITION_OF };

typedef struct {
    enum step step;
    Py_ssize_t place; /* the number that it was given */
    PyObject *thing;  /* the object that it was given; owned */
    Value constant;
    /* what was found the last time, while types and dictionaries are the same */
    PyTypeObject *type;
    unsigned int type_version;
    enum kind kind;
    PyObject *of_class;
    int is_known;
    uint64_t seen[3]; /* states of dictionaries */
    PyObject *found[3];
} Step;

typedef struct {
    PyObject_HEAD
    PyObject *code;
    Py_ssize_t count, variables, misses;
    Step *steps;
} Looks;

typedef struct {
    PyObject *globals, *builtins;
    Value variables[MOST], stack[MOST + 2];
    Py_ssize_t depth, at;
} Following;

static PyObject *position_of, *getposition_of, *builtin_len;

/* Python 3.11 gives every state of a dictionary a number; later ones do not, and everything is looked up anew. */
#if PY_VERSION_HEX < 0x030C0000
#define VERSION(dict) (((PyDictObject *)(dict))->ma_version_tag)
#else
#define VERSION(dict) ((uint64_t)0)
#endif

static PyObject *
own_of(PyObject *thing)
{
    PyObject **own = _PyObject_GetDictPtr(thing);
    return own == NULL ? NULL : *own;
}

static PyObject *
found_in(PyObject *own, PyObject *name)
{
    return own == NULL ? NULL : PyDict_GetItemWithError(own, name);
}

/* ---------------------------------------------------------------- attributes */

static enum kind
kind_of(PyObject *of_class)
{
    if (of_class == NULL)
        return OWN;
    if (of_class == position_of)
        return POSITION_OF;
    if (of_class == getposition_of)
        return GETPOSITION_OF;
    if (Py_TYPE(of_class)->tp_descr_get == NULL)
        return Py_TYPE(of_class)->tp_descr_set == NULL ? OWN_OR_CLASS : UNKNOWN;
    return Py_TYPE(of_class)->tp_descr_set == NULL ? OWN : UNKNOWN;
}

/* What the attribute is for objects of a type: looked up again when the type was changed. */
static enum kind
look_up(Step *step, PyTypeObject *type)
{
    if (step->type == type && step->type_version != 0 && step->type_version == type->tp_version_tag)
        return step->kind;
    if (type->tp_getattro != PyObject_GenericGetAttr && !finds_quickly(type))
        return UNKNOWN;
    step->of_class = _PyType_Lookup(type, step->thing);
    step->kind = kind_of(step->of_class);
    step->type = type;
    step->type_version = type->tp_version_tag;
    step->is_known = 0;
    return step->kind;
}

/* The position of a feed that an earlier look has made; NULL where there is none. */
static PyObject *
position_in(PyObject *broker, PyObject *data)
{
    PyObject *positions = found_in(broker, name_positions);
    return positions == NULL || data == NULL || !PyDict_Check(positions) ? NULL : found_in(positions, data);
}

/* `self.position`, found again while neither the strategy nor the broker nor its positions are others. */
static PyObject *
position(Step *step, PyObject *own)
{
    PyObject *broker = broker_of_run(own), *data = first_feed(own), *positions;
    if (broker == NULL || data == NULL)
        return NULL;
    if (step->is_known && step->seen[0] == VERSION(own) && step->seen[1] == VERSION(broker) &&
        step->found[1] == data && step->seen[2] == VERSION(step->found[2]))
        return step->found[0];
    PyObject *held = position_in(broker, data);
    positions = found_in(broker, name_positions);
    step->is_known = held != NULL && VERSION(own) != 0;
    if (step->is_known) {
        step->seen[0] = VERSION(own);
        step->seen[1] = VERSION(broker);
        step->seen[2] = VERSION(positions);
        step->found[0] = held;
        step->found[1] = data;
        step->found[2] = positions;
    }
    return held;
}

/* An attribute that an object keeps itself, or its class plainly; NULL where it has none or it is no plain one. */
static PyObject *
plain_attribute(Step *step, PyObject *own, enum kind kind)
{
    if (own != NULL && step->is_known && step->seen[0] == VERSION(own))
        return step->found[0];
    PyObject *found = found_in(own, step->thing);
    if (found == NULL && kind == OWN_OR_CLASS)
        found = step->of_class;
    step->is_known = own != NULL && found != NULL && VERSION(own) != 0;
    if (step->is_known) {
        step->seen[0] = VERSION(own);
        step->found[0] = found;
    }
    return found;
}

static PyObject *
attribute_at(Step *step, PyObject *thing)
{
    enum kind kind = look_up(step, Py_TYPE(thing));
    if (kind == UNKNOWN || kind == GETPOSITION_OF)
        return NULL;
    PyObject *own = own_of(thing);
    return kind == POSITION_OF ? (own == NULL ? NULL : position(step, own)) : plain_attribute(step, own, kind);
}

/* ---------------------------------------------------------------- values */

static Value
of_thing(PyObject *thing)
{
    return (Value){thing, number_of(thing), VALUE};
}

static Value
of_number(Number number)
{
    return (Value){NULL, number, VALUE};
}

static int
is_number(Value *value)
{
    return value->role == VALUE && value->number.kind != STRANGE;
}

/* Whether a value is true; -1 where only Python can say. */
static int
truth(Value *value)
{
    PyObject *thing = value->thing;
    if (value->role != VALUE)
        return -1;
    if (is_number(value))
        return !is_zero(value->number);
    if (thing == Py_None || thing == Py_False)
        return 0;
    if (thing == Py_True)
        return 1;
    if (tells_held(Py_TYPE(thing))) {
        Number size = number_of(found_in(own_of(thing), name_size));
        return size.kind == STRANGE ? -1 : !is_zero(size);
    }
    if (PyList_CheckExact(thing) || PyTuple_CheckExact(thing))
        return Py_SIZE(thing) != 0;
    if (PyDict_CheckExact(thing))
        return PyDict_GET_SIZE(thing) != 0;
    if (is_plain_order(thing))
        return 1;
    return -1;
}

/* A value of a line, feed or indicator that follows a clock; 0 where only Python can say. */
static int
value_of_line(Step *step, PyObject *line, PyObject *name, long long back, Value *found)
{
    PyObject *own = own_of(line);
    if (own == NULL)
        return 0;
    if (!step->is_known || step->seen[0] != VERSION(own)) {
        step->found[0] = found_in(own, name_clock_now);
        step->found[1] = found_in(own, name);
        step->seen[0] = VERSION(own);
        step->is_known = VERSION(own) != 0;
    }
    PyObject *clock = step->found[0], *values = step->found[1];
    if (clock == NULL || values == NULL || !is_doubles(values) || !PyList_CheckExact(clock) || !PyList_GET_SIZE(clock)) {
        step->is_known = 0;
        return 0;
    }
    Number now = number_of(PyList_GET_ITEM(clock, 0));
    Number at = now.kind == WHOLE ? sum(now, whole(back)) : strange();
    if (at.kind != WHOLE || at.whole < 0 || at.whole >= Py_SIZE(values))
        return 0;
    *found = of_number(floating(doubles_of(values)[at.whole]));
    return 1;
}

/* The value under a key that tells what it is by being it, or by being a string; NULL where only Python can say. */
static PyObject *
under_key(PyObject *dict, PyObject *key)
{
    int plain = key != NULL && (Py_TYPE(key)->tp_hash == PyBaseObject_Type.tp_hash || PyUnicode_CheckExact(key));
    return plain ? PyDict_GetItemWithError(dict, key) : NULL;
}

/* `container[key]`; 0 where only Python can say. */
static int
item_at(Step *step, Value *container, Value *key, Value *found)
{
    PyObject *thing = container->thing, *name, *item = NULL;
    if (thing == NULL || container->role != VALUE || key->role != VALUE)
        return 0;
    int whole_key = key->number.kind == WHOLE;
    if (whole_key && (name = values_of(Py_TYPE(thing))) != NULL)
        return value_of_line(step, thing, name, key->number.whole, found);
    if (PyDict_CheckExact(thing)) {
        item = under_key(thing, key->thing);
    } else if (whole_key && (PyList_CheckExact(thing) || PyTuple_CheckExact(thing))) {
        long long at = key->number.whole + (key->number.whole < 0 ? Py_SIZE(thing) : 0);
        if (at >= 0 && at < Py_SIZE(thing))
            item = PySequence_Fast_GET_ITEM(thing, at);
    }
    if (item == NULL)
        return 0;
    *found = of_thing(item);
    return 1;
}

/* Whether numbers compare so, or things that are equal only to themselves; -1 where only Python can say. */
static int
compared(Value *a, Value *b, Py_ssize_t how)
{
    double left = a->number.value, right = b->number.value;
    if (is_number(a) && is_number(b)) {
        switch (how) {
        case Py_LT: return left < right;
        case Py_LE: return left <= right;
        case Py_EQ: return left == right;
        case Py_NE: return left != right;
        case Py_GT: return left > right;
        case Py_GE: return left >= right;
        }
    }
    return -1;
}

static Number
calculated(enum step step, Number a, Number b)
{
    switch (step) {
    case ADD: return sum(a, b);
    case SUBTRACT: return difference(a, b);
    case MULTIPLY: return product(a, b);
    default: return quotient(a, b);
    }
}

/* `len(...)`; strange where only Python can say. */
static Number
length_of(PyObject *thing)
{
    if (thing == NULL)
        return strange();
    if (PyList_CheckExact(thing) || PyTuple_CheckExact(thing))
        return whole(Py_SIZE(thing));
    if (!counts_bars(Py_TYPE(thing)))
        return strange();
    PyObject *clock = found_in(own_of(thing), name_clock_now);
    int plain = clock != NULL && PyList_CheckExact(clock) && PyList_GET_SIZE(clock);
    return plain ? sum(number_of(PyList_GET_ITEM(clock, 0)), whole(1)) : strange();
}

/* ---------------------------------------------------------------- steps */

static void
push(Following *following, Value value)
{
    following->stack[following->depth++] = value;
}

static Value *
top(Following *following, Py_ssize_t below)
{
    return &following->stack[following->depth - 1 - below];
}

static int
push_thing(Following *following, PyObject *thing)
{
    if (thing == NULL)
        return 0;
    push(following, of_thing(thing));
    return 1;
}

/* `len(thing)` or `self.getposition(feed)`, whose function and arguments are the topmost values. */
static int
call(Following *following, Py_ssize_t count)
{
    if (count > 1 || following->depth <= count)
        return 0;
    Value *callee = top(following, count), *given = count ? top(following, 0) : NULL;
    PyObject *held = NULL;
    if (callee->role == VALUE && callee->thing == builtin_len && given != NULL && given->role == VALUE) {
        Number length = length_of(given->thing);
        *callee = of_number(length);
        following->depth -= count;
        return length.kind == WHOLE;
    }
    if (callee->role == GETPOSITION && (given == NULL || (given->role == VALUE && given->thing != NULL))) {
        PyObject *own = own_of(callee->thing), *broker = own == NULL ? NULL : broker_of_run(own);
        int first = given == NULL || given->thing == Py_None;
        held = broker == NULL ? NULL : position_in(broker, first ? first_feed(own) : given->thing);
    }
    if (held == NULL)
        return 0;
    *callee = of_thing(held);
    following->depth -= count;
    return 1;
}

/* The next element of the list that the topmost value goes through, or on behind the loop. */
static int
each(Following *following, Step *step)
{
    Value *over = top(following, 0);
    if (over->role != ITERATION)
        return 0;
    if (over->number.whole < PyList_GET_SIZE(over->thing)) {
        push(following, of_thing(PyList_GET_ITEM(over->thing, over->number.whole)));
        top(following, 1)->number.whole++;
        return 1;
    }
    following->depth -= step->step == EACH;
    following->at = step->place;
    return 1;
}

/* Go on elsewhere where the topmost value is true (or not); it is taken, or stays where the jump is made. */
static int
branch(Following *following, Step *step, int when, int keeps)
{
    int is = truth(top(following, 0));
    if (is < 0)
        return 0;
    int jumps = is == when;
    following->depth -= !(jumps && keeps);
    if (jumps)
        following->at = step->place;
    return 1;
}

static int
branch_on_none(Following *following, Step *step, int when)
{
    Value *value = top(following, 0);
    if (value->role != VALUE)
        return 0;
    if ((value->thing == Py_None) == when)
        following->at = step->place;
    following->depth--;
    return 1;
}

/* A step that makes one value of two. */
static int
of_two(Following *following, Step *step)
{
    Value *a = top(following, 1), *b = top(following, 0), made;
    if (step->step == ITEM) {
        if (!item_at(step, a, b, &made))
            return 0;
    } else if (step->step == COMPARE) {
        int is = compared(a, b, step->place);
        if (is < 0)
            return 0;
        made = of_thing(is ? Py_True : Py_False);
    } else if (step->step == IS) {
        if (a->thing == NULL || b->thing == NULL || a->role != VALUE || b->role != VALUE)
            return 0;
        made = of_thing((a->thing == b->thing) != (int)step->place ? Py_True : Py_False);
    } else {
        made = of_number(is_number(a) && is_number(b) ? calculated(step->step, a->number, b->number) : strange());
        if (made.number.kind == STRANGE)
            return 0;
    }
    following->depth--;
    *top(following, 0) = made;
    return 1;
}

/* A step that makes another value of the topmost one. */
static int
of_one(Following *following, Step *step)
{
    Value *value = top(following, 0);
    int is;
    switch (step->step) {
    case ATTRIBUTE:
    case METHOD: {
        PyObject *thing = value->role == VALUE ? value->thing : NULL, *found;
        if (thing == NULL)
            return 0;
        if (step->step == METHOD) {
            if (look_up(step, Py_TYPE(thing)) != GETPOSITION_OF || found_in(own_of(thing), step->thing) != NULL)
                return 0;
            value->role = GETPOSITION;
            return 1;
        }
        if ((found = attribute_at(step, thing)) == NULL)
            return 0;
        *value = of_thing(found);
        return 1;
    }
    case NOT:
        if ((is = truth(value)) < 0)
            return 0;
        *value = of_thing(is ? Py_False : Py_True);
        return 1;
    case NEGATIVE:
        if (!is_number(value) || (value->number.kind == WHOLE && value->number.whole == 0 && value->thing == NULL))
            return 0;
        *value = of_number(negative(value->number));
        return 1;
    default: /* ITERATE */
        if (value->role != VALUE || value->thing == NULL || !PyList_CheckExact(value->thing))
            return 0;
        *value = (Value){value->thing, whole(0), ITERATION};
        return 1;
    }
}

static int
global(Following *following, PyObject *name)
{
    PyObject *found = PyDict_GetItemWithError(following->globals, name);
    return push_thing(following, found == NULL ? found_in(following->builtins, name) : found);
}

/* A step that moves values about. */
static int
move(Following *following, Step *step)
{
    Py_ssize_t place = step->place;
    Value kept;
    switch (step->step) {
    case VARIABLE:
        if (following->variables[place].thing == NULL && following->variables[place].number.kind == STRANGE)
            return 0;
        push(following, following->variables[place]);
        return 1;
    case STORE:
        following->variables[place] = *top(following, 0);
        following->depth--;
        return 1;
    case CONSTANT:
        push(following, step->constant);
        return 1;
    case POP:
        following->depth--;
        return 1;
    case COPY:
        if (place < 1 || place > following->depth)
            return 0;
        push(following, *top(following, place - 1));
        return 1;
    default: /* SWAP */
        if (place < 1 || place > following->depth)
            return 0;
        kept = *top(following, 0);
        *top(following, 0) = *top(following, place - 1);
        *top(following, place - 1) = kept;
        return 1;
    }
}

/* How many values a step needs. */
static Py_ssize_t
needed(enum step step)
{
    switch (step) {
    case ACT: case VARIABLE: case CONSTANT: case GLOBAL: case JUMP: case RETURN: return 0;
    case ITEM: case COMPARE: case IS: case ADD: case SUBTRACT: case MULTIPLY: case DIVIDE: return 2;
    default: return 1;
    }
}

/* One step; 0 where Python has to begin. */
static int
follow(Following *following, Step *step)
{
    switch (step->step) {
    case VARIABLE: case STORE: case CONSTANT: case POP: case COPY: case SWAP: return move(following, step);
    case GLOBAL: return global(following, step->thing);
    case ATTRIBUTE: case METHOD: case NOT: case NEGATIVE: case ITERATE: return of_one(following, step);
    case ITEM: case COMPARE: case IS: case ADD: case SUBTRACT: case MULTIPLY: case DIVIDE: return of_two(following, step);
    case CALL: return call(following, step->place);
    case EACH: case EACH_KEPT: return each(following, step);
    case JUMP: following->at = step->place; return 1;
    case IF_FALSE: return branch(following, step, 0, 0);
    case IF_TRUE: return branch(following, step, 1, 0);
    case IF_FALSE_OR_POP: return branch(following, step, 0, 1);
    case IF_TRUE_OR_POP: return branch(following, step, 1, 1);
    case IF_NONE: return branch_on_none(following, step, 1);
    case IF_NOT_NONE: return branch_on_none(following, step, 0);
    default: return 0;
    }
}

/* Whether a function of this one argument would return without having done anything. */
static int
returns(Looks *self, PyObject *function, PyObject *argument)
{
    Following following;
    following.globals = PyFunction_GET_GLOBALS(function);
    following.builtins = ((PyFunctionObject *)function)->func_builtins;
    following.depth = following.at = 0;
    for (Py_ssize_t number = 0; number < self->variables; number++)
        following.variables[number] = of_number(strange());
    following.variables[0] = of_thing(argument);
    for (int steps = 0; steps < LONGEST; steps++) {
        Step *step = &self->steps[following.at++];
        if (step->step == RETURN)
            return 1;
        if (following.depth < needed(step->step) || following.depth >= MOST || !follow(&following, step))
            return 0;
    }
    return 0;
}

/* Whether `next` would look at the present bar and do nothing; it is asked while that happens now and then. */
int
only_looks(PyObject *looks, PyObject *method, PyObject *strategy)
{
    Looks *self = (Looks *)looks;
    PyObject *function = PyMethod_GET_FUNCTION(method);
    PyThreadState *thread = PyThreadState_Get();
    if (self->misses > PATIENCE || PyMethod_GET_SELF(method) != strategy || !PyFunction_Check(function) ||
        PyFunction_GET_CODE(function) != self->code || thread->c_tracefunc != NULL || thread->c_profilefunc != NULL)
        return 0;
    int looked = returns(self, function, strategy);
    if (PyErr_Occurred())
        PyErr_Clear();
    self->misses = looked ? 0 : self->misses + 1;
    return looked;
}

/* ---------------------------------------------------------------- the type */

static void
looks_dealloc(Looks *self)
{
    PyTypeObject *type = Py_TYPE(self);
    for (Py_ssize_t number = 0; self->steps != NULL && number < self->count; number++)
        Py_XDECREF(self->steps[number].thing);
    PyMem_Free(self->steps);
    Py_XDECREF(self->code);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
set_step(Step *step, PyObject *given)
{
    PyObject *name = PyTuple_GetItem(given, 0), *with = name == NULL ? NULL : PyTuple_GetItem(given, 1);
    int kind = 0;
    if (with == NULL)
        return -1;
    while (kind < STEPS && PyUnicode_CompareWithASCIIString(name, step_names[kind]))
        kind++;
    if (kind == STEPS) {
        PyErr_Format(PyExc_ValueError, "a program has no step %R", name);
        return -1;
    }
    step->step = (enum step)kind;
    step->thing = Py_NewRef(with);
    step->constant = of_thing(with);
    step->place = PyLong_CheckExact(with) && kind != CONSTANT ? PyLong_AsSsize_t(with) : 0;
    return PyErr_Occurred() ? -1 : 0;
}

static int
is_inside(Looks *self, Step *step)
{
    switch (step->step) {
    case VARIABLE: case STORE: return step->place >= 0 && step->place < self->variables;
    case JUMP: case IF_FALSE: case IF_TRUE: case IF_NONE: case IF_NOT_NONE: case IF_FALSE_OR_POP:
    case IF_TRUE_OR_POP: case EACH: case EACH_KEPT: return step->place >= 0 && step->place < self->count;
    default: return 1;
    }
}

static int
looks_init(Looks *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *code, *program;
    if (!PyArg_ParseTuple(args, "O!O!:Looks", &PyCode_Type, &code, &PyTuple_Type, &program))
        return -1;
    Py_ssize_t count = PyTuple_GET_SIZE(program);
    if (self->steps != NULL || count == 0 || ((PyCodeObject *)code)->co_nlocals > MOST) {
        PyErr_SetString(PyExc_ValueError, "a program has steps, and not more variables than there is room for");
        return -1;
    }
    if ((self->steps = PyMem_Calloc((size_t)count + 1, sizeof(Step))) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->code = Py_NewRef(code);
    self->variables = ((PyCodeObject *)code)->co_nlocals;
    self->count = count; /* behind the last step stands `act` */
    for (Py_ssize_t number = 0; number < count; number++) {
        if (set_step(&self->steps[number], PyTuple_GET_ITEM(program, number)))
            return -1;
        if (!is_inside(self, &self->steps[number])) {
            PyErr_SetString(PyExc_ValueError, "a step of a program leads out of it");
            return -1;
        }
    }
    return 0;
}

static PyType_Slot looks_slots[] = {
    {Py_tp_doc, "What a method only looks at, for one run."},
    {Py_tp_init, looks_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, looks_dealloc},
    {0, NULL},
};

static PyType_Spec looks_spec = {
    .name = "research.engine.native._loop.Looks",
    .basicsize = sizeof(Looks),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = looks_slots,
};

int
add_looks(PyObject *module, PyObject *asking)
{
    builtin_len = PyDict_GetItemString(PyEval_GetBuiltins(), "len");
    position_of = PyObject_GetAttr(asking, name_position);
    getposition_of = PyObject_GetAttr(asking, name_getposition);
    PyObject *type = PyType_FromSpec(&looks_spec);
    int failed = !builtin_len || !position_of || !getposition_of || type == NULL ||
                 PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return failed ? -1 : 0;
}
