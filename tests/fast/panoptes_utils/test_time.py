from datetime import datetime, timedelta, timezone
from threading import Event, Timer

import pytest
from astropy import units as u
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from panoptes_utils import error
from panoptes_utils.time import CountdownTimer, current_time, flatten_time, wait_for_events


def test_current_time_is_utc_in_each_form():
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    after = before + timedelta(seconds=60)
    as_time = current_time()
    assert isinstance(as_time, Time) and as_time.scale == "utc"
    assert before < as_time.to_datetime(timezone.utc) < after
    aware = current_time(datetime=True)
    assert aware.tzinfo is timezone.utc and before < aware < after
    assert before < datetime.strptime(current_time(flatten=True) + "+0000", "%Y%m%dT%H%M%S%z") < after
    assert before < datetime.strptime(current_time(pretty=True) + "+0000", "%Y-%m-%d %H:%M:%S%z") < after


@pytest.mark.parametrize("text", ["2016-08-13 10:00:00", "2016-08-13T10:00:00", "2016-08-13T12:00:00+02:00"])
def test_pocstime_stands_in_and_moves_on(monkeypatch, text):
    monkeypatch.setenv("POCSTIME", text)
    assert current_time(flatten=True) == "20160813T100000"
    assert current_time(pretty=True) == "2016-08-13 10:00:01"
    assert current_time(datetime=True) == datetime(2016, 8, 13, 10, 0, 2, tzinfo=timezone.utc)


def test_bad_pocstime_is_named(monkeypatch):
    monkeypatch.setenv("POCSTIME", "tonight")
    with pytest.raises(error.IllegalValue, match="POCSTIME='tonight'"):
        current_time()


def test_flatten_time_of_both_kinds():
    assert flatten_time(Time("2019-05-11T01:02:03")) == "20190511T010203"
    assert flatten_time(datetime(2019, 5, 11, 1, 2, 3)) == "20190511T010203"


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2025, 1, 1), timezones=st.just(timezone.utc))


@given(moments, zones)
def test_a_moment_is_flattened_in_utc_whatever_its_zone(moment, zone):
    assert flatten_time(moment.astimezone(zone)) == f"{moment:%Y%m%dT%H%M%S}"


@given(moments, st.sampled_from(["tai", "tt", "tdb", "tcg", "tcb", "utc"]))
def test_a_moment_is_flattened_in_utc_whatever_its_scale(moment, scale):
    # In the middle of a second: a conversion is exact to microseconds.
    moment = moment.replace(microsecond=500_000)
    assert flatten_time(getattr(Time(moment), scale)) == f"{moment:%Y%m%dT%H%M%S}"


@pytest.mark.parametrize("scale", ["ut1", "local"])
def test_a_scale_that_needs_tables_or_a_place_is_flattened_as_it_is(scale):
    assert flatten_time(Time("2019-05-11T01:02:03", scale=scale)) == "20190511T010203"


@pytest.mark.parametrize("duration", [1, 1.0, 1 * u.second, timedelta(seconds=1), (1 / 60) * u.minute])
def test_timer_takes_each_kind_of_duration(duration):
    timer = CountdownTimer(duration, name="kinds")
    assert timer.duration == pytest.approx(1)
    assert not timer.expired() and 0 < timer.time_left() <= 1
    assert "kinds" in str(timer)


@pytest.mark.parametrize("duration", ["1", None, True, 1 * u.meter, [1]])
def test_timer_refuses_what_is_no_duration(duration):
    with pytest.raises(ValueError, match="duration"):
        CountdownTimer(duration)


def test_timer_refuses_a_negative_duration():
    with pytest.raises(AssertionError, match="negative"):
        CountdownTimer(-1)
    with pytest.raises(AssertionError):
        CountdownTimer(float("nan"))


def test_timer_of_zero_has_expired():
    timer = CountdownTimer(0)
    assert timer.expired() and timer.is_non_blocking and timer.time_left() == 0
    assert "EXPIRED" in str(timer)
    assert timer.sleep() is False


def test_timer_sleeps_no_longer_than_asked():
    timer = CountdownTimer(60)
    assert timer.sleep(max_sleep=0.01) is True
    assert not timer.expired()
    short = CountdownTimer(0.02)
    assert short.sleep(max_sleep=10, log_level="INFO") is False
    assert short.expired()
    short.restart()
    assert not short.expired()


def test_wait_for_events_returns_when_all_are_set():
    first, second = Event(), Event()
    first.set()
    Timer(0.05, second.set).start()
    assert wait_for_events([first, second], timeout=30, sleep_delay=30) is True


def test_wait_for_events_ends_at_the_time_limit():
    with pytest.raises(error.Timeout, match="1 of 1 events"):
        wait_for_events(Event(), timeout=0.05 * u.second, sleep_delay=0.01)


def test_wait_for_events_ends_when_the_callback_says_so():
    calls = []

    def callback():
        calls.append(1)
        return len(calls) < 3

    assert wait_for_events([Event()], timeout=30, sleep_delay=0.001, callback=callback) is False
    assert len(calls) == 3
