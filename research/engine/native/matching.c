/* The way of plain orders through the broker.
 *
 * Belongs here: the cash check of one order, matching market, limit, stop and trailing orders with a bar, execution and
 * what it does to cash and positions. Does not belong here: the records (see orders.c); whatever is out of the
 * ordinary, which is the broker's own methods in Python. The reference is research/engine/matching.py, and the order
 * of every floating-point operation is the one there.
 */

#include "orders.h"

static PyTypeObject *base_scheme, *stock_scheme, *buy_type;
static PyObject *zero;

/* The broker's parts during one call; borrowed. */
typedef struct {
    PyObject *broker, *own, *pending, *notifs, *positions, *schemes, *ocos, *ocol, *children, *credit;
    int slips, adds_credit;
} Desk;

typedef struct {
    PyObject *info, *margin; /* the margin is owned */
    Number mult, leverage, commission;
    int is_percentage;
} Scheme;

/* positions.Movement */
typedef struct {
    Number held, average, opened, closed;
} Movement;

/* ---------------------------------------------------------------- looking things up */

static int
is_true_attribute(PyObject *object, PyObject *name)
{
    PyObject *value = stored(object, name);
    int truth = value == NULL ? -1 : PyObject_IsTrue(value);
    Py_XDECREF(value);
    return truth;
}

static int
look_at(Desk *desk, PyObject *broker)
{
    PyObject *own = attributes(broker);
    if (own == NULL)
        return -1;
    desk->broker = broker;
    desk->own = own;
    if ((desk->pending = attribute(own, name_pending)) == NULL ||
        (desk->notifs = attribute(own, name_notifs)) == NULL ||
        (desk->positions = attribute(own, name_positions)) == NULL ||
        (desk->schemes = attribute(own, name_comminfo)) == NULL || (desk->ocos = attribute(own, name_ocos)) == NULL ||
        (desk->ocol = attribute(own, name_ocol)) == NULL || (desk->children = attribute(own, name_children)) == NULL ||
        (desk->credit = attribute(own, name_d_credit)) == NULL)
        return -1;
    return 0;
}

/* How the broker executes. */
static int
look_at_ways(Desk *desk)
{
    PyObject *p = stored(desk->broker, name_p);
    if (p == NULL)
        return -1;
    int percent = is_true_attribute(p, name_slip_perc), fixed = is_true_attribute(p, name_slip_fixed);
    desk->slips = percent || fixed;
    desk->adds_credit = is_true_attribute(p, name_int2pnl);
    Py_DECREF(p);
    return PyErr_Occurred() ? -1 : 0;
}

/* The number of any attribute; strange where there is none. */
static Number
number_at(PyObject *object, PyObject *name)
{
    PyObject *value = stored(object, name);
    Number number = number_of(value);
    if (value == NULL)
        PyErr_Clear();
    Py_XDECREF(value);
    return number;
}

/* The present value of a line of a feed; strange where it is not to be had. */
static Number
now_of(PyObject *data, PyObject *name)
{
    PyObject *line = stored(data, name), *value = line == NULL ? NULL : PyObject_GetItem(line, zero);
    Number number = number_of(value);
    if (value == NULL)
        PyErr_Clear();
    Py_XDECREF(line);
    Py_XDECREF(value);
    return number;
}

/* The commission scheme of a feed; 0 where it is not one of Backtrader's own with plain numbers. */
static int
find_scheme(Desk *desk, PyObject *data, Scheme *found)
{
    PyObject *name = stored(data, name_feed_name), *info = NULL;
    if (name != NULL && (info = PyDict_GetItemWithError(desk->schemes, name)) == NULL && !PyErr_Occurred())
        info = PyDict_GetItemWithError(desk->schemes, Py_None);
    Py_XDECREF(name);
    PyErr_Clear();
    if (info == NULL || !(Py_IS_TYPE(info, base_scheme) || Py_IS_TYPE(info, stock_scheme)))
        return 0;
    PyObject *p = stored(info, name_p);
    if (p == NULL || (found->margin = stored(p, name_margin)) == NULL) {
        Py_XDECREF(p);
        PyErr_Clear();
        return 0;
    }
    found->info = info;
    found->mult = number_at(p, name_mult);
    found->leverage = number_at(p, name_leverage);
    found->commission = number_at(p, name_commission);
    found->is_percentage = number_at(info, name_commtype).value == 0.0; /* CommInfoBase.COMM_PERC */
    Py_DECREF(p);
    return 1;
}

/* ---------------------------------------------------------------- arithmetic */

static int
is_positive(Number a)
{
    return a.value > 0;
}

/* positions.moved */
static Movement
moved(Number held, Number average, Number size, Number price)
{
    Number after = sum(held, size), none = whole(0);
    if (is_zero(after))
        return (Movement){after, floating(0.0), none, size};
    if (is_zero(held))
        return (Movement){after, price, size, none};
    if (is_positive(held) == is_positive(size)) {
        Number spent = sum(product(average, held), product(size, price));
        return (Movement){after, quotient(spent, after), size, none};
    }
    if (is_positive(held) == is_positive(after))
        return (Movement){after, average, none, size};
    return (Movement){after, price, after, negative(held)};
}

/* matching.fee */
static Number
fee_of(Scheme *scheme, Number size, Number price)
{
    Number fee = product(magnitude(size), scheme->commission);
    return scheme->is_percentage ? product(fee, price) : fee;
}

static Number
levered(Scheme *scheme, Number value)
{
    return is_positive(value) ? quotient(value, scheme->leverage) : value;
}

/* matching._received */
static Number
received(Number cash, Scheme *scheme, Number value, Number profit)
{
    return sum(cash, sum(levered(scheme, value), profit));
}

/* matching._spent */
static Number
spent(Number cash, Scheme *scheme, Number value)
{
    return difference(cash, levered(scheme, value));
}

/* ---------------------------------------------------------------- what Python does */

static int
ask_broker(Desk *desk, PyObject *method, PyObject *order)
{
    PyObject *done = PyObject_CallMethodOneArg(desk->broker, method, order);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
fill_in_python(Desk *desk, PyObject *order, Number price)
{
    PyObject *at = number_object(price);
    PyObject *done = at == NULL ? NULL : PyObject_CallMethodObjArgs(desk->broker, name_fill, order, zero, at, NULL);
    Py_XDECREF(at);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* MatchingBroker.notify of a plain order */
static int
notify(Desk *desk, PyObject *order, PyObject *own)
{
    PyObject *copy = tell(order, own);
    int failed = append(desk->notifs, copy);
    Py_XDECREF(copy);
    return failed;
}

/* Whether a queue holds this very object. */
static int
holds(PyObject *queue, PyObject *thing)
{
    PyObject *iterator = PyObject_GetIter(queue), *one;
    int found = 0;
    while (iterator != NULL && !found && (one = PyIter_Next(iterator)) != NULL) {
        found = one == thing;
        Py_DECREF(one);
    }
    Py_XDECREF(iterator);
    return PyErr_Occurred() ? -1 : found;
}

/* MatchingBroker._ococheck: quickly where the order is alone in its group. */
static int
check_group(Desk *desk, PyObject *order, PyObject *own)
{
    PyObject *ref = attribute(own, name_ref), *parent = ref ? PyDict_GetItemWithError(desk->ocos, ref) : NULL;
    PyObject *leader = parent ? PyDict_GetItemWithError(desk->ocos, parent) : NULL;
    PyObject *group = leader ? PyDict_GetItemWithError(desk->ocol, leader) : NULL;
    if (PyErr_Occurred())
        return -1;
    if (leader != NULL && group == NULL)
        return 0;
    if (group != NULL && PyList_CheckExact(group) && PyList_GET_SIZE(group) == 1 &&
        PyObject_RichCompareBool(PyList_GET_ITEM(group, 0), ref, Py_EQ) == 1) {
        int waits = holds(desk->pending, order);
        if (waits <= 0)
            return waits ? -1 : PyDict_DelItem(desk->ocol, leader);
    }
    return PyErr_Occurred() ? -1 : ask_broker(desk, name_ococheck, order);
}

/* BackBroker._bracketize of an order that executed: quickly where it has no children. */
static int
release_children(Desk *desk, PyObject *order, PyObject *own)
{
    PyObject *parent = parameter(own, name_parent), *ref = attribute(own, name_ref);
    if (parent == Py_None && ref != NULL) {
        PyObject *children = PyDict_GetItemWithError(desk->children, ref);
        if (children != NULL && PyObject_Size(children) == 1) {
            PyObject *itself = take_first(children);
            Py_XDECREF(itself);
            return itself == NULL ? -1 : 0;
        }
    }
    return PyErr_Occurred() ? -1 : ask_broker(desk, name_bracketize, order);
}

/* ---------------------------------------------------------------- execution */

/* An execution as it would be, worked out before anything is changed. */
typedef struct {
    Scheme scheme;
    Movement movement; /* as the position will move */
    Execution one;
    Number cash;
    PyObject *position, *moment; /* owned */
    int is_refused;              /* what was to be opened cannot be paid for */
} Plan;

static void
drop_plan(Plan *plan)
{
    Py_CLEAR(plan->scheme.margin);
    Py_CLEAR(plan->position);
    Py_CLEAR(plan->moment);
}

/* matching._fill up to where it changes something; 0 where Python has to do it. */
static int
plan_parts(Desk *desk, Plan *plan, PyObject *position, Number left, Number price)
{
    Number held = number_in(position, name_size), average = number_in(position, name_price);
    Movement movement = moved(held, average, left, price);
    Number closed = movement.closed, wanted = movement.opened, cash = number_in(desk->own, name_cash);
    Part none = {whole(0), floating(0.0), floating(0.0)}, closing = none, opening = none;
    Scheme *scheme = &plan->scheme;
    Number profit = product(product(negative(closed), difference(price, average)), scheme->mult);
    if (!is_zero(closed)) {
        closing = (Part){closed, product(negative(closed), average), fee_of(scheme, closed, price)};
        cash = difference(received(cash, scheme, closing.value, profit), closing.fee);
        if (desk->adds_credit)
            closing.fee = sum(closing.fee, floating(0.0));
    }
    if (!is_zero(wanted)) {
        opening = (Part){wanted, product(wanted, price), fee_of(scheme, wanted, price)};
        Number rest = difference(spent(cash, scheme, opening.value), opening.fee);
        if (rest.kind != FLOATING)
            return 0;
        plan->is_refused = rest.value < 0.0;
        if (plan->is_refused)
            opening = none;
        else
            cash = rest;
    }
    Number size = sum(closing.size, opening.size);
    plan->cash = cash;
    plan->movement = plan->is_refused ? moved(held, average, size, price) : movement;
    plan->one = (Execution){.size = size, .price = price, .profit = profit, .held = movement.held,
                            .average = movement.average, .closed = closing, .opened = opening};
    Number all[] = {cash, size, profit, movement.held, movement.average, plan->movement.held, plan->movement.average,
                    closing.value, closing.fee, opening.value, opening.fee};
    for (size_t number = 0; number < sizeof all / sizeof *all; number++)
        if (all[number].kind == STRANGE)
            return 0;
    return cash.kind == FLOATING; /* Backtrader makes whole money a float at the next bar */
}

/* positions._moment */
static PyObject *
moment_of(PyObject *data)
{
    PyObject *line = stored(data, name_datetime);
    if (line == NULL)
        return NULL;
    int zoned = is_true_attribute(line, name_tz);
    PyObject *moment = zoned ? NULL : PyObject_GetItem(line, zero);
    if (zoned > 0)
        moment = PyObject_CallMethodNoArgs(line, name_datetime);
    Py_DECREF(line);
    return moment;
}

/* Everything that an execution at a price will do; 0 where Python has to do it. */
static int
make_plan(Desk *desk, Plan *plan, PyObject *own, Number price)
{
    PyObject *data = parameter(own, name_data), *record = attribute(own, name_executed);
    if (data == NULL || record == NULL || (record = attributes(record)) == NULL || PyDict_GET_SIZE(desk->credit) ||
        !find_scheme(desk, data, &plan->scheme))
        return 0;
    plan->position = PyObject_GetItem(desk->positions, data);
    if (plan->position == NULL || !PyType_IsSubtype(Py_TYPE(plan->position), held_type))
        return 0;
    PyObject *held = attributes(plan->position);
    if (held == NULL || !plan_parts(desk, plan, held, number_in(record, name_remsize), price))
        return 0;
    plan->moment = moment_of(data);
    plan->one.margin = plan->scheme.margin;
    PyObject *line = plan->moment == NULL ? NULL : stored(data, name_datetime);
    plan->one.time = line == NULL ? NULL : PyObject_GetItem(line, zero); /* owned until the plan is carried out */
    Py_XDECREF(line);
    return plan->one.time != NULL && (is_zero(plan->one.size) || book_ahead(&plan->one, record));
}

/* MarkedPosition.move */
static int
move_position(Plan *plan)
{
    PyObject *own = attributes(plan->position);
    Movement *movement = &plan->movement;
    if (own == NULL || set(own, name_price_orig, attribute(own, name_price)) ||
        number_set(own, name_size, movement->held) || number_set(own, name_price, movement->average) ||
        number_set(own, name_upopened, movement->opened) || number_set(own, name_upclosed, movement->closed))
        return -1;
    if (!is_zero(movement->opened) && number_set(own, name_price_mark, plan->one.price))
        return -1;
    return set(own, name_moment, plan->moment);
}

/* matching._settle */
static int
settle(Desk *desk, Plan *plan, PyObject *order, PyObject *own)
{
    PyObject *record = attributes(attribute(own, name_executed));
    if (record == NULL || move_position(plan) || book(&plan->one, record))
        return -1;
    int status = is_zero(plan->one.done_left) ? COMPLETED : PARTIAL;
    if (number_set(own, name_status, whole(status)) || set(own, name_comminfo, plan->scheme.info))
        return -1;
    return notify(desk, order, own) || check_group(desk, order, own) ? -1 : 0;
}

/* The cash is set past its property, which would bring values up to date: while the broker works they are. */
static int
carry_out(Desk *desk, Plan *plan, PyObject *order, PyObject *own)
{
    int failed = number_set(desk->own, name_cash, plan->cash);
    if (!failed && !is_zero(plan->one.size))
        failed = settle(desk, plan, order, own);
    if (!failed && plan->is_refused)
        failed = ask_broker(desk, name_refuse, order);
    return failed ? -1 : 0;
}

/* matching._fill */
static int
fill(Desk *desk, PyObject *order, PyObject *own, Number price)
{
    Plan plan = {0};
    int failed, planned = make_plan(desk, &plan, own, price);
    if (planned) {
        failed = carry_out(desk, &plan, order, own);
    } else {
        PyErr_Clear(); /* Python meets the same error at its place */
        failed = fill_in_python(desk, order, price);
    }
    Py_XDECREF(plan.one.time);
    drop_plan(&plan);
    return failed;
}

/* ---------------------------------------------------------------- matching */

static int
is_alive(PyObject *own)
{
    Number status = number_in(own, name_status);
    return status.kind == WHOLE && status.whole <= PARTIAL;
}

/* matching._try_limit */
static int
try_limit(Desk *desk, PyObject *order, PyObject *own, Number limit)
{
    int buys = Py_IS_TYPE(order, buy_type);
    PyObject *data = parameter(own, name_data);
    Number begin = now_of(data, name_open), worst = now_of(data, buys ? name_low : name_high);
    if (limit.kind == STRANGE || begin.kind == STRANGE || worst.kind == STRANGE)
        return ask_broker(desk, name_try_exec, order);
    if (buys ? limit.value >= begin.value : limit.value <= begin.value)
        return fill(desk, order, own, begin);
    if (buys ? limit.value >= worst.value : limit.value <= worst.value)
        return fill(desk, order, own, limit);
    return 0;
}

/* Order.trailadjust of a trailing stop */
static int
adjust_trail(PyObject *order, PyObject *own, PyObject *made, Number price)
{
    PyObject *amount = parameter(own, name_trailamount), *percent = parameter(own, name_trailpercent);
    Number away = floating(0.0), stop = number_in(made, name_price);
    if (amount != Py_None && !(number_of(amount).kind != STRANGE && is_zero(number_of(amount))))
        away = number_of(amount);
    else if (percent != Py_None && !(number_of(percent).kind != STRANGE && is_zero(number_of(percent))))
        away = product(price, number_of(percent));
    int buys = Py_IS_TYPE(order, buy_type);
    Number moved_to = buys ? sum(price, away) : difference(price, away);
    if (moved_to.kind == STRANGE || stop.kind == STRANGE) {
        PyObject *at = number_object(price), *done = NULL;
        if (at != NULL)
            done = PyObject_CallMethodOneArg(order, name_trailadjust, at);
        Py_XDECREF(at);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    if (buys ? moved_to.value < stop.value : moved_to.value > stop.value)
        return number_set(made, name_price, moved_to);
    return 0;
}

/* matching._try_stop */
static int
try_stop(Desk *desk, PyObject *order, PyObject *own, PyObject *made, int trails)
{
    int buys = Py_IS_TYPE(order, buy_type), failed = 0;
    PyObject *data = parameter(own, name_data);
    Number trigger = number_in(made, name_price), begin = now_of(data, name_open);
    Number furthest = now_of(data, buys ? name_high : name_low), close = now_of(data, name_close);
    if (trigger.kind == STRANGE || begin.kind == STRANGE || furthest.kind == STRANGE || close.kind == STRANGE)
        return ask_broker(desk, name_try_exec, order);
    if (buys ? begin.value >= trigger.value : begin.value <= trigger.value)
        failed = fill(desk, order, own, begin);
    else if (buys ? furthest.value >= trigger.value : furthest.value <= trigger.value)
        failed = fill(desk, order, own, trigger);
    return !failed && trails && is_alive(own) ? adjust_trail(order, own, made, close) : failed;
}

static int
try_market(Desk *desk, PyObject *order, PyObject *own, PyObject *made)
{
    PyObject *data = parameter(own, name_data);
    Number now = now_of(data, name_datetime), since = number_in(made, name_dt), begin = now_of(data, name_open);
    if (now.kind == STRANGE || since.kind == STRANGE || begin.kind == STRANGE)
        return ask_broker(desk, name_try_exec, order);
    return now.value > since.value ? fill(desk, order, own, begin) : 0;
}

/* matching._try_exec */
static int
try_exec(Desk *desk, PyObject *order, PyObject *own)
{
    PyObject *record = attribute(own, name_created), *made = record == NULL ? NULL : attributes(record);
    if (made == NULL)
        return -1;
    Number kind = number_in(own, name_exectype);
    if (desk->slips || kind.kind != WHOLE)
        return ask_broker(desk, name_try_exec, order);
    if (kind.whole == MARKET)
        return try_market(desk, order, own, made);
    if (kind.whole == LIMIT)
        return try_limit(desk, order, own, number_in(made, name_price));
    int triggered = PyObject_IsTrue(attribute(own, name_triggered));
    if (triggered)
        return triggered < 0 ? -1 : try_limit(desk, order, own, number_in(made, name_pricelimit));
    if (kind.whole == STOP || kind.whole == STOP_TRAIL)
        return try_stop(desk, order, own, made, kind.whole == STOP_TRAIL);
    return ask_broker(desk, name_try_exec, order);
}

/* matching._match */
static int
match(Desk *desk, PyObject *order)
{
    PyObject *own = is_plain_order(order) ? attributes(order) : NULL, *valid, *active;
    if (own == NULL || (valid = parameter(own, name_valid)) != Py_None)
        return PyErr_Occurred() ? -1 : ask_broker(desk, name_match, order);
    if ((active = attribute(own, name_active)) == NULL)
        return -1;
    int acts = PyObject_IsTrue(active);
    if (acts <= 0)
        return acts < 0 ? -1 : append(desk->pending, order);
    if (try_exec(desk, order, own))
        return -1;
    if (is_alive(own))
        return append(desk->pending, order);
    return number_in(own, name_status).whole == COMPLETED ? release_children(desk, order, own) : 0;
}

/* MatchingBroker.work_orders */
static PyObject *
work_orders(PyObject *Py_UNUSED(module), PyObject *broker)
{
    Desk desk;
    if (look_at(&desk, broker) || look_at_ways(&desk) || append(desk.pending, Py_None))
        return NULL;
    for (;;) {
        PyObject *order = take_first(desk.pending);
        if (order == NULL || order == Py_None)
            return order;
        int failed = match(&desk, order);
        Py_DECREF(order);
        if (failed)
            return NULL;
    }
}

/* ---------------------------------------------------------------- submission */

/* BackBroker._ocoize of an order that is alone in its group */
static int
begin_group(Desk *desk, PyObject *ref)
{
    if (PyDict_SetItem(desk->ocos, ref, ref))
        return -1;
    PyObject *group = made_under(desk->ocol, ref, &PyList_Type);
    int failed = group == NULL || PyList_Append(group, ref);
    Py_XDECREF(group);
    return failed ? -1 : 0;
}

/* MatchingBroker._send */
static int
submit(Desk *desk, PyObject *order, PyObject *own)
{
    PyObject *broker = attributes(desk->broker), *ref = attribute(own, name_ref);
    PyObject *submitted = attribute(broker, name_submitted), *orders = attribute(broker, name_sent_orders);
    if (submitted == NULL || orders == NULL || ref == NULL || begin_group(desk, ref))
        return -1;
    PyObject *family = made_under(desk->children, ref, deque_type);
    int failed = family == NULL || append(family, order);
    Py_XDECREF(family);
    Py_ssize_t bars = failed ? -1 : PyObject_Size(parameter(own, name_data));
    if (bars < 0 || number_set(own, name_status, whole(SUBMITTED)) || number_set(own, name_plen, whole(bars)))
        return -1;
    /* a run may keep its orders in a list that forgets them */
    return append(orders, order) || append(submitted, order) || notify(desk, order, own) ? -1 : 0;
}

/* Make a plain order that belongs to no other, and send it. */
PyObject *
send_plainly(PyObject *broker, PyTypeObject *type, PyObject *const *values, PyObject *session_end)
{
    Desk desk;
    PyObject *order = look_at(&desk, broker) ? NULL : order_by(type, values, session_end);
    if (order != NULL && submit(&desk, order, attributes(order)))
        Py_CLEAR(order);
    return order;
}

static PyObject *
send(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *broker, *values, *session_end;
    if (!PyArg_ParseTuple(args, "OO!O!O:send", &broker, &PyType_Type, &type, &PyTuple_Type, &values, &session_end))
        return NULL;
    if (PyTuple_GET_SIZE(values) != 15)
        return PyErr_Format(PyExc_TypeError, "an order is made of all its parameters");
    return send_plainly(broker, type, &PyTuple_GET_ITEM(values, 0), session_end);
}

/* MatchingBroker.submit_accept */
static int
accept(Desk *desk, PyObject *order, PyObject *own)
{
    Py_ssize_t bars = PyObject_Size(parameter(own, name_data));
    if (bars < 0 || set(own, name_pannotated, Py_None) || set(own, name_broker, Py_None) ||
        number_set(own, name_plen, whole(bars)) || number_set(own, name_status, whole(ACCEPTED)))
        return -1;
    return append(desk->pending, order) || notify(desk, order, own) ? -1 : 0;
}

/* The cash that one order would leave; strange where Python has to find out. */
static Number
cash_left(Desk *desk, PyObject *own)
{
    PyObject *data = parameter(own, name_data);
    PyObject *record = attributes(attribute(own, name_executed)), *made = attributes(attribute(own, name_created));
    Scheme scheme;
    if (record == NULL || made == NULL || !find_scheme(desk, data, &scheme))
        return strange();
    Py_DECREF(scheme.margin);
    PyObject *position = PyObject_GetItem(desk->positions, data);
    if (position == NULL)
        return strange();
    Number price = number_in(made, name_price), cash = number_in(desk->own, name_cash);
    Movement movement = moved(number_at(position, name_size), number_at(position, name_price),
                              number_in(record, name_remsize), price);
    Py_DECREF(position);
    if (movement.held.kind == STRANGE || movement.average.kind == STRANGE)
        return strange();
    Number closed = movement.closed, opened = movement.opened;
    if (!is_zero(closed)) {
        Number back = received(cash, &scheme, product(negative(closed), price), floating(0.0));
        cash = difference(back, fee_of(&scheme, closed, price));
    }
    if (!is_zero(opened))
        cash = difference(spent(cash, &scheme, product(opened, price)), fee_of(&scheme, opened, price));
    return cash;
}

/* MatchingBroker.check_submitted where one plain order without a parent waits; False where Python has to do it. */
static PyObject *
check_submitted(PyObject *Py_UNUSED(module), PyObject *broker)
{
    Desk desk;
    PyObject *queue = attributes(broker), *order = NULL, *own = NULL;
    if (queue == NULL || look_at(&desk, broker) || (queue = attribute(queue, name_submitted)) == NULL)
        return NULL;
    if (PyObject_Size(queue) != 1 || (order = PySequence_GetItem(queue, 0)) == NULL)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
    Number cash = strange();
    if (is_plain_order(order) && (own = attributes(order)) != NULL && parameter(own, name_parent) == Py_None)
        cash = cash_left(&desk, own);
    PyObject *done = cash.kind == STRANGE ? Py_False : Py_True;
    PyErr_Clear();
    if (done == Py_True) {
        PyObject *taken = take_first(queue);
        int failed = taken == NULL;
        if (!failed)
            failed = cash.value >= 0.0 ? accept(&desk, order, own) : ask_broker(&desk, name_refuse, order);
        Py_XDECREF(taken);
        done = failed ? NULL : Py_True;
    }
    Py_DECREF(order);
    return Py_XNewRef(done);
}

/* ---------------------------------------------------------------- a bar */

/* MarkedPosition.mark */
static int
mark_position(PyObject *data, PyObject *position)
{
    PyObject *own = attributes(position), *size = own == NULL ? NULL : attribute(own, name_size);
    int held = size == NULL ? -1 : PyObject_IsTrue(size);
    if (held <= 0)
        return held;
    PyObject *line = stored(data, name_close), *close = line == NULL ? NULL : PyObject_GetItem(line, zero);
    PyObject *moment = close == NULL ? NULL : moment_of(data);
    int failed =
        moment == NULL || set(own, name_price_mark, close) || set(own, name_moment, moment);
    Py_XDECREF(line);
    Py_XDECREF(close);
    Py_XDECREF(moment);
    return failed ? -1 : 0;
}

/* The loop of FastBroker.mark */
static int
mark_all(PyObject *positions)
{
    PyObject *data, *position;
    Py_ssize_t at = 0;
    if (!PyDict_Check(positions)) {
        PyErr_SetString(PyExc_TypeError, "positions are kept in a dictionary");
        return -1;
    }
    while (PyDict_Next(positions, &at, &data, &position)) {
        if (!PyType_IsSubtype(Py_TYPE(position), held_type)) {
            PyErr_SetString(PyExc_TypeError, "a position that cannot be marked");
            return -1;
        }
        if (mark_position(data, position))
            return -1;
    }
    return 0;
}

static PyObject *
mark(PyObject *Py_UNUSED(module), PyObject *positions)
{
    return mark_all(positions) ? NULL : Py_NewRef(Py_None);
}

static int
call(PyObject *broker, PyObject *method)
{
    PyObject *done = PyObject_CallMethodNoArgs(broker, method);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
is_set(PyObject *own, PyObject *name)
{
    return PyDict_GetItemWithError(own, name) == Py_True;
}

/* FastBroker.catch_up */
int
catch_up(PyObject *broker)
{
    PyObject *own = attributes(broker), *positions = own == NULL ? NULL : attribute(own, name_positions);
    if (positions == NULL)
        return -1;
    if (is_set(own, name_stale) || is_set(own, name_unmarked)) {
        if (set(own, name_unmarked, Py_False) || mark_all(positions))
            return -1;
    }
    return is_set(own, name_confided) ? 0 : call(broker, name_value_now);
}

/* How many things wait in a container of the broker's; not 0 where there is none. */
static Py_ssize_t
waiting(PyObject *own, PyObject *name)
{
    PyObject *queue = PyDict_GetItemWithError(own, name);
    return queue == NULL ? -1 : PyObject_Size(queue);
}

static int
is_false_attribute(PyObject *object, PyObject *name)
{
    return is_true_attribute(object, name) == 0;
}

/* FastBroker._can_be_simple, where nothing else than orders has to be looked after either. */
static int
is_simple(PyObject *own)
{
    PyObject *p = found(own, name_p), *feeds = found(own, name_feeds), *filler;
    if (!is_set(own, name_usual) || waiting(own, name_always) || waiting(own, name_toactivate) || p == NULL ||
        feeds == NULL || !PyList_Check(feeds) || (filler = stored(p, name_filler)) == NULL)
        return 0;
    Py_DECREF(filler);
    if (filler != Py_None || !is_false_attribute(p, name_coc) || !is_false_attribute(p, name_coo) ||
        is_true_attribute(p, name_shortcash) != 1 || is_true_attribute(p, name_checksubmit) != 1)
        return 0;
    for (Py_ssize_t number = 0; number < PyList_GET_SIZE(feeds); number++) {
        PyObject *other = stored(PyList_GET_ITEM(feeds, number), name_compensate);
        Py_XDECREF(other);
        if (other != Py_None)
            return 0;
    }
    return 1;
}

/* The orders that were submitted, then those that are pending. */
static int
work(PyObject *broker, PyObject *own)
{
    if (waiting(own, name_submitted)) {
        PyObject *done = check_submitted(NULL, broker);
        Py_XDECREF(done);
        if (done == NULL || (done == Py_False && call(broker, name_check_submitted)))
            return -1;
    }
    if (!waiting(own, name_pending))
        return 0;
    PyObject *done = work_orders(NULL, broker);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* FastBroker.next */
int
work_at_bar(PyObject *broker)
{
    PyObject *own = attributes(broker);
    int simple = own != NULL && is_simple(own);
    if (PyErr_Occurred())
        return -1;
    if (!simple)
        return call(broker, name_next);
    if (set(own, name_unmarked, Py_False) || set(own, name_stale, Py_False) ||
        set(own, name_simple, Py_True))
        return -1;
    int failed = work(broker, own);
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    failed = set(own, name_simple, Py_False) || failed;
    PyErr_Restore(kind, error, trace);
    if (failed || set(own, name_stale, Py_True))
        return -1;
    PyObject *cash = attribute(own, name_cash);
    if (cash == NULL)
        return -1;
    if (PyFloat_Check(cash) && !isfinite(PyFloat_AS_DOUBLE(cash)) && call(broker, name_leave_none_out))
        return -1;
    return waiting(own, name_cash_addition) ? call(broker, name_value_now) : 0;
}

static PyMethodDef functions[] = {
    {"mark", mark, METH_O, "mark(positions)\n--\n\nMark the open positions to the present bar."},
    {"work_orders", work_orders, METH_O, "work_orders(broker)\n--\n\nGive every pending order its chance on this bar."},
    {"send", send, METH_VARARGS, "send(broker, type, values, session_end)\n--\n\nMake an order and submit it."},
    {"check_submitted", check_submitted, METH_O,
     "check_submitted(broker)\n--\n\nAccept or refuse the order that waits; False where that is left to Python."},
    {NULL},
};

int
add_matching(PyObject *module)
{
    base_scheme = type_of("backtrader.comminfo", "CommInfoBase");
    stock_scheme = type_of("backtrader.comminfo", "CommissionInfo");
    buy_type = type_of("backtrader.order", "BuyOrder");
    zero = PyLong_FromLong(0);
    if (!base_scheme || !stock_scheme || !buy_type || !zero)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
