"""What is written, and how it is read aloud: the kinds that answers are full of, in English and in Chinese."""

import pytest

from tritone.speech.reading.normalization import read

ENGLISH = [
    # Saints, streets, doctors, drives
    ("221B Baker St. is near", "two hundred and twenty one B Baker Street is near"),
    ("He lives on Baker St.", "He lives on Baker Street"),
    ("Baker St, London", "Baker Street, London"),
    ("10 Baker St. London", "ten Baker Street London"),
    ("5th St. is closed", "fifth Street is closed"),
    ("St. Paul wrote", "Saint Paul wrote"),
    ("Visit St. Louis", "Visit Saint Louis"),
    ("St Mary's", "Saint Mary's"),
    ("Dr. Smith", "Doctor Smith"),
    ("Mulholland Dr. is long", "Mulholland Drive is long"),
    ("12 Oak Dr.", "twelve Oak Drive"),
    ("Fifth Ave. and Main Rd.", "Fifth Avenue and Main Road"),
    # Numbers that name
    ("No. 7", "number seven"),
    ("#1 of 3", "number one of three"),
    ("version 2.0.1", "version two point zero point one"),
    ("v1.2 and 10.15.7", "version one point two and ten point fifteen point seven"),
    ("at 192.168.0.1 now", "at one nine two dot one six eight dot zero dot one now"),
    ("call 555-1234", "call five five five, one two three four"),
    ("(415) 555-2671", "four one five, five five five, two six seven one"),
    ("+1 415-555-2671", "plus one, four one five, five five five, two six seven one"),
    ("+49 30 123456", "plus four nine, three zero, one two three four five six"),
    ("978-3-16-148410-0", "nine seven eight, three, one six, one four eight four one zero, zero"),
    ("open 24/7", "open twenty four seven"),
    # Powers and sums
    ("2^10", "two to the power of ten"),
    ("2**10", "two to the power of ten"),
    ("10^-3", "ten to the power of minus three"),
    ("10⁶", "ten to the power of six"),
    ("x^2 + y² = 1", "x squared plus y squared equals one"),
    ("5^3", "five cubed"),
    ("2^n", "two to the power of n"),
    ("5 * 3 = 15", "five times three equals fifteen"),
    ("5*3", "five times three"),
    ("a * b", "a times b"),
    ("5 - 3 = 2", "five minus three equals two"),
    ("7 − 2", "seven minus two"),
    ("1920x1080", "one thousand nine hundred and twenty by one thousand and eighty"),
    ("3 < 5 and x >= 2", "three is less than five and x is at least two"),
    ("~50 people", "about fifty people"),
    # Ranges, scores, ratios
    ("pages 3–5", "pages three to five"),
    ("from 2010-2015", "from twenty ten to twenty fifteen"),
    ("1939–45", "nineteen thirty nine to forty five"),
    ("won 3-2", "won three to two"),
    ("a 16:9 screen", "a sixteen to nine screen"),
    ("scale 1:50", "scale one to fifty"),
    ("the 1st–3rd", "the first to third"),
    ("50%-60%", "fifty to sixty percent"),
    ("-5%", "minus five percent"),
    ("5-10 km", "five to ten kilometers"),
    ("-5 °C", "minus five degrees Celsius"),
    # Money
    ("$1.5M", "one point five million dollars"),
    ("$20k", "twenty thousand dollars"),
    ("$3 billion", "three billion dollars"),
    ("€3,50", "three euro and fifty cents"),
    ("3,50 €", "three euro and fifty cents"),
    ("$1,000", "one thousand dollars"),
    ("-$5", "minus five dollars"),
    ("20 USD", "twenty dollars"),
    ("¥5 and £1.01", "five yuan and one pound and one penny"),
    ("$0.99", "ninety nine cents"),
    ("50¢", "fifty cents"),
    # Dates and times
    ("12/31/2024", "December thirty first, twenty twenty four"),
    ("31/12/2024", "December thirty first, twenty twenty four"),
    ("May 3-5, 2024", "May third to fifth, twenty twenty four"),
    ("Jan. 5", "January fifth"),
    ("5 pm", "five P M"),
    ("9:05:30", "nine oh five and thirty seconds"),
    ("the '90s", "the nineties"),
    # Units
    ("5 m²", "five square meters"),
    ("3 km^2", "three square kilometers"),
    ("2 m³", "two cubic meters"),
    ("5 in the box", "five in the box"),
    ("6 in.", "six inches."),
    ("5'10\"", "five foot ten"),
    ("3 kWh", "three kilowatt hours"),
    ("5 km - 10 km", "five to ten kilometers"),
    ("10 cm x 20 cm", "ten centimeters by twenty centimeters"),
    ("$19.99/month", "nineteen dollars and ninety nine cents per month"),
    ("7:00 a.m. - 9:00 p.m.", "seven A M to nine P M"),
    ("9:00-17:00", "nine o'clock to seventeen hundred"),
    ("ran it in 27:30", "ran it in twenty seven thirty"),
    ("Boeing 747-400", "Boeing seven hundred and forty seven four hundred"),
    ("call 911.", "call nine one one."),
    ("4.5/5 and 50/50", "four point five out of five and fifty fifty"),
    # Fractions
    ("1/2 and 3/4", "one half and three quarters"),
    ("1 1/2 cups", "one and one half cups"),
    ("½ cup", "one half cup"),
    ("100/200", "one hundred over two hundred"),
    # Roman numerals
    ("Henry VIII", "Henry the eighth"),
    ("Elizabeth II was", "Elizabeth the second was"),
    ("Chapter IV", "Chapter four"),
    ("World War II", "World War two"),
    ("I am Henry I think", "I am Henry I think"),
    ("Malcolm X", "Malcolm X"),
    # Words
    ("C++, C# and .NET", "C plus plus, C sharp and dot net"),
    ("A/B and/or his/her", "A B and or his her"),
    ("the US and the UK", "the U S and the U K"),
    ("the U.S. Army", "the U S Army"),
    ("an AI", "an A I"),
    ("snake_case", "snake case"),
    ("#fun", "hashtag fun"),
    ("see https://www.example.com/a?b=c.", "see example dot com."),
    ("go to example.com/docs now", "go to example dot com now"),
    ("mail a.b@example.org", "mail a dot b at example dot org"),
    ("Good 👍🏽 job ✅", "Good job"),
    ("\u0663\u0664 people", "thirty four people"),
    ("９ ａｎｄ １０", "nine and ten"),
    ("9" * 20 + "th", " ".join(["nine"] * 20) + " th"),
    ("9" * 20 + " km", " ".join(["nine"] * 20) + " kilometers"),
]

CHINESE = [
    # Numbers that name
    ("版本2.0.1", "版本二点零点一"),
    ("v1.2.3发布", "一点二点三发布"),
    ("地址192.168.0.1", "地址一九二点一六八点零点一"),
    ("第2个", "第二个"),
    ("第2章", "第二章"),
    ("No.1", "第一"),
    ("#1", "第一"),
    ("电话13812345678", "电话一三八一二三四五六七八"),
    ("010-12345678", "零一零一二三四五六七八"),
    ("400-800-1234", "四零零八零零一二三四"),
    ("138 1234 5678", "一三八一二三四五六七八"),
    ("+86 13812345678", "八六一三八一二三四五六七八"),
    ("拨打110", "拨打一一零"),
    ("验证码1234", "验证码一二三四"),
    # Two
    ("2个人", "两个人"),
    ("2月2日", "二月二日"),
    ("2个月", "两个月"),
    ("2楼", "二楼"),
    ("2天2夜", "两天二夜"),
    ("12个", "十二个"),
    ("2000元", "两千元"),
    ("20000人", "两万人"),
    ("200人", "二百人"),
    ("2km", "两公里"),
    ("2倍", "两倍"),
    # Years, dates, times
    ("1998年", "一九九八年"),
    ("2020-2024年", "二零二零到二零二四年"),
    ("1990年代", "一九九零年代"),
    ("2024-05-03", "二零二四年五月三日"),
    ("2024/5/3", "二零二四年五月三日"),
    ("2024.5.3", "二零二四年五月三日"),
    ("15:05", "十五点零五分"),
    ("2:30", "两点三十分"),
    ("9:00", "九点"),
    ("12:30:45", "十二点三十分四十五秒"),
    # Ratios and scores
    ("3:2", "三比二"),
    ("比分3:2", "比分三比二"),
    ("比分3-2", "比分三比二"),
    ("以3:12输了", "以三比十二输了"),
    ("16:9的屏幕", "十六比九的屏幕"),
    # Powers and sums
    ("2^10", "二的十次方"),
    ("10⁶", "十的六次方"),
    ("10^-3", "十的负三次方"),
    ("x^2", "x的平方"),
    ("x³", "x的立方"),
    ("5×3=15", "五乘三等于十五"),
    ("5*3", "五乘三"),
    ("5-3=2", "五减三等于二"),
    ("3<5", "三小于五"),
    ("x>=2", "x大于等于二"),
    ("-5", "负五"),
    # Percent
    ("50%", "百分之五十"),
    ("50%~60%", "百分之五十到百分之六十"),
    ("50-60%", "百分之五十到六十"),
    ("100%", "百分之百"),
    ("５０％", "百分之五十"),
    # Money
    ("¥3.5", "三点五元"),
    ("$1.5M", "一百五十万美元"),
    ("￥5-10", "五到十元"),
    ("$20万", "二十万美元"),
    ("20 USD", "二十美元"),
    ("3.5万元", "三点五万元"),
    # Units
    ("5m²", "五平方米"),
    ("3km²", "三平方公里"),
    ("2m³", "两立方米"),
    ("-5℃", "负五摄氏度"),
    ("20~25℃", "二十到二十五摄氏度"),
    ("5-10km", "五到十公里"),
    ("100km/h", "每小时一百公里"),
    ("-5℃~10℃", "负五到十摄氏度"),
    ("5公里，5km/天", "五公里，五公里每天"),
    ("¥1,299.00", "一千二百九十九元"),
    ("010-6255 1234", "零一零六二五五一二三四"),
    ("2023-2024学年", "二零二三到二零二四学年"),
    ("第3-5页", "第三到五页"),
    # Ranges and fractions
    ("3~5天", "三到五天"),
    ("2-3个", "两到三个"),
    ("1/2", "二分之一"),
    ("3/4", "四分之三"),
    ("½", "二分之一"),
    ("1½", "一又二分之一"),
    # Other digits and letters
    ("有３个", "有三个"),
    ("有٣٤个", "有三十四个"),
    ("用C++和C#", "用C加加和C sharp"),
    ("A/B测试", "A B测试"),
    ("5G网络", "五G网络"),
    ("iPhone 15", "iPhone十五"),
    ("请看https://example.com/a。", "请看example点com。"),
    ("太好了👍！", "太好了！"),
    ("约50人", "约五十人"),
    ("9" * 20 + "个", "九" * 20 + "个"),
]


def spoken(text: str, language: str) -> str:
    said = " ".join(word.spoken for word in read(text, language) if word.spoken)
    return " ".join(said.split())


@pytest.mark.parametrize(("written", "said"), ENGLISH)
def test_english(written: str, said: str) -> None:
    assert spoken(written, "en") == said


@pytest.mark.parametrize(("written", "said"), CHINESE)
def test_chinese(written: str, said: str) -> None:
    assert spoken(written, "zh").replace(" ", "") == said.replace(" ", "")


@pytest.mark.parametrize(("text", "language"), [*((w, "en") for w, _ in ENGLISH), *((w, "zh") for w, _ in CHINESE)])
def test_words_join_to_the_text(text: str, language: str) -> None:
    assert "".join(word.text + word.space for word in read(text, language)) == text
