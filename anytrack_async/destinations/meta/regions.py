"""Country and state codes by name, and phone numbers by region.

Only `country_code` and `phone_with_region` need an optional library. Country codes are ISO 3166-1,
state codes those of the post offices of the United States and Canada.
"""

from __future__ import annotations

import unicodedata

# Each entry is a code and its names, separated by slashes: lower-case ASCII letters only, accents
# folded, no spaces. "New York" becomes "newyork" before it is looked up.
_STATES = """
al/alabama ak/alaska az/arizona ar/arkansas ca/california co/colorado ct/connecticut de/delaware
fl/florida ga/georgia hi/hawaii id/idaho il/illinois in/indiana ia/iowa ks/kansas ky/kentucky
la/louisiana me/maine md/maryland ma/massachusetts mi/michigan mn/minnesota ms/mississippi
mo/missouri mt/montana ne/nebraska nv/nevada nh/newhampshire nj/newjersey nm/newmexico ny/newyork
nc/northcarolina nd/northdakota oh/ohio ok/oklahoma or/oregon pa/pennsylvania ri/rhodeisland
sc/southcarolina sd/southdakota tn/tennessee tx/texas ut/utah vt/vermont va/virginia wa/washington
wv/westvirginia wi/wisconsin wy/wyoming
dc/districtofcolumbia/washingtondc as/americansamoa gu/guam mp/northernmarianaislands
pr/puertorico vi/virginislands/usvirginislands
ab/alberta bc/britishcolumbia mb/manitoba nb/newbrunswick nl/newfoundlandandlabrador/newfoundland
ns/novascotia nt/northwestterritories nu/nunavut on/ontario pe/princeedwardisland qc/quebec
sk/saskatchewan yt/yukon/yukonterritory
"""

# Alpha-2 code, alpha-3 code, then names: "de/deu/germany/deutschland".
_COUNTRIES = """
ad/and/andorra ae/are/unitedarabemirates/uae/emirates af/afg/afghanistan
ag/atg/antiguaandbarbuda ai/aia/anguilla al/alb/albania am/arm/armenia ao/ago/angola
aq/ata/antarctica ar/arg/argentina as/asm/americansamoa at/aut/austria/osterreich/oesterreich
au/aus/australia aw/abw/aruba ax/ala/alandislands az/aze/azerbaijan ba/bih/bosniaandherzegovina
bb/brb/barbados bd/bgd/bangladesh be/bel/belgium/belgie/belgique bf/bfa/burkinafaso
bg/bgr/bulgaria bh/bhr/bahrain bi/bdi/burundi bj/ben/benin
bl/blm/saintbarthelemy/stbarthelemy/stbarts bm/bmu/bermuda bn/brn/bruneidarussalam/brunei
bo/bol/boliviaplurinationalstateof/bolivia
bq/bes/bonairesinteustatiusandsaba/bonaire/caribbeannetherlands br/bra/brazil/brasil
bs/bhs/bahamas bt/btn/bhutan bv/bvt/bouvetisland bw/bwa/botswana by/blr/belarus bz/blz/belize
ca/can/canada cc/cck/cocoskeelingislands/cocos/cocosislands/keelingislands
cd/cod/congothedemocraticrepublicofthe/democraticrepublicofthecongo/drcongo/congokinshasa
cf/caf/centralafricanrepublic cg/cog/congo/republicofthecongo/congobrazzaville
ch/che/switzerland/suisse/svizzera/schweiz ci/civ/cotedivoire/ivorycoast ck/cok/cookislands
cl/chl/chile cm/cmr/cameroon cn/chn/china/peoplesrepublicofchina/mainlandchina co/col/colombia
cr/cri/costarica cu/cub/cuba cv/cpv/caboverde/capeverde cw/cuw/curacao cx/cxr/christmasisland
cy/cyp/cyprus cz/cze/czechia/czechrepublic de/deu/germany/deutschland dj/dji/djibouti
dk/dnk/denmark/danmark dm/dma/dominica do/dom/dominicanrepublic dz/dza/algeria ec/ecu/ecuador
ee/est/estonia eg/egy/egypt eh/esh/westernsahara er/eri/eritrea es/esp/spain/espana
et/eth/ethiopia fi/fin/finland/suomi fj/fji/fiji
fk/flk/falklandislandsmalvinas/falklandislands/falklands/malvinas
fm/fsm/micronesiafederatedstatesof/micronesia fo/fro/faroeislands fr/fra/france ga/gab/gabon
gb/gbr/unitedkingdom/uk/greatbritain/britain/england/scotland/wales/northernireland
gd/grd/grenada ge/geo/georgia gf/guf/frenchguiana gg/ggy/guernsey gh/gha/ghana gi/gib/gibraltar
gl/grl/greenland gm/gmb/gambia gn/gin/guinea gp/glp/guadeloupe gq/gnq/equatorialguinea
gr/grc/greece gs/sgs/southgeorgiaandthesouthsandwichislands gt/gtm/guatemala gu/gum/guam
gw/gnb/guineabissau gy/guy/guyana hk/hkg/hongkong/hongkongsar/hongkongchina/hongkongsarchina
hm/hmd/heardislandandmcdonaldislands hn/hnd/honduras hr/hrv/croatia/hrvatska ht/hti/haiti
hu/hun/hungary/magyarorszag id/idn/indonesia ie/irl/ireland/republicofireland/eire il/isr/israel
im/imn/isleofman in/ind/india io/iot/britishindianoceanterritory iq/irq/iraq
ir/irn/iranislamicrepublicof/iran is/isl/iceland/island it/ita/italy/italia je/jey/jersey
jm/jam/jamaica jo/jor/jordan jp/jpn/japan ke/ken/kenya kg/kgz/kyrgyzstan kh/khm/cambodia
ki/kir/kiribati km/com/comoros kn/kna/saintkittsandnevis/stkittsandnevis
kp/prk/koreademocraticpeoplesrepublicof/northkorea/koreanorth
kr/kor/korearepublicof/southkorea/korea/koreasouth/republicofkorea kw/kwt/kuwait
ky/cym/caymanislands kz/kaz/kazakhstan la/lao/laopeoplesdemocraticrepublic/laos lb/lbn/lebanon
lc/lca/saintlucia/stlucia li/lie/liechtenstein lk/lka/srilanka lr/lbr/liberia ls/lso/lesotho
lt/ltu/lithuania/lietuva lu/lux/luxembourg lv/lva/latvia ly/lby/libya ma/mar/morocco
mc/mco/monaco md/mda/moldovarepublicof/moldova me/mne/montenegro
mf/maf/saintmartinfrenchpart/saintmartin/stmartin mg/mdg/madagascar mh/mhl/marshallislands
mk/mkd/northmacedonia/macedonia/macedoniatheformeryugoslavrepublicof ml/mli/mali
mm/mmr/myanmar/burma mn/mng/mongolia mo/mac/macao/macau mp/mnp/northernmarianaislands
mq/mtq/martinique mr/mrt/mauritania ms/msr/montserrat mt/mlt/malta mu/mus/mauritius
mv/mdv/maldives/maledives mw/mwi/malawi mx/mex/mexico my/mys/malaysia mz/moz/mozambique
na/nam/namibia nc/ncl/newcaledonia ne/ner/niger nf/nfk/norfolkisland ng/nga/nigeria
ni/nic/nicaragua nl/nld/netherlands/holland/nederland no/nor/norway/norge np/npl/nepal
nr/nru/nauru nu/niu/niue nz/nzl/newzealand/aotearoa om/omn/oman pa/pan/panama pe/per/peru
pf/pyf/frenchpolynesia pg/png/papuanewguinea ph/phl/philippines pk/pak/pakistan
pl/pol/poland/polska pm/spm/saintpierreandmiquelon/stpierreandmiquelon
pn/pcn/pitcairn/pitcairnislands pr/pri/puertorico
ps/pse/palestinestateof/palestine/palestinianterritories/palestineoccupied pt/prt/portugal
pw/plw/palau py/pry/paraguay qa/qat/qatar re/reu/reunion/lareunion ro/rou/romania/rumania
rs/srb/serbia ru/rus/russianfederation/russia rw/rwa/rwanda sa/sau/saudiarabia/ksa
sb/slb/solomonislands sc/syc/seychelles sd/sdn/sudan se/swe/sweden/sverige sg/sgp/singapore
sh/shn/sainthelenaascensionandtristandacunha/sainthelena/sthelena si/svn/slovenia
sj/sjm/svalbardandjanmayen sk/svk/slovakia sl/sle/sierraleone sm/smr/sanmarino sn/sen/senegal
so/som/somalia sr/sur/suriname ss/ssd/southsudan st/stp/saotomeandprincipe sv/slv/elsalvador
sx/sxm/sintmaartendutchpart/sintmaarten sy/syr/syrianarabrepublic/syria
sz/swz/eswatini/swaziland tc/tca/turksandcaicosislands td/tcd/chad
tf/atf/frenchsouthernterritories tg/tgo/togo th/tha/thailand tj/tjk/tajikistan tk/tkl/tokelau
tl/tls/timorleste/easttimor tm/tkm/turkmenistan tn/tun/tunisia to/ton/tonga
tr/tur/turkiye/turkey/turkei tt/tto/trinidadandtobago tv/tuv/tuvalu
tw/twn/taiwanprovinceofchina/taiwan tz/tza/tanzaniaunitedrepublicof/tanzania ua/ukr/ukraine
ug/uga/uganda um/umi/unitedstatesminoroutlyingislands
us/usa/unitedstates/america/unitedstatesofamerica uy/ury/uruguay uz/uzb/uzbekistan
va/vat/holyseevaticancitystate/holysee/vatican/vaticancity
vc/vct/saintvincentandthegrenadines/stvincentandthegrenadines
ve/ven/venezuelabolivarianrepublicof/venezuela vg/vgb/virginislandsbritish/britishvirginislands
vi/vir/virginislandsus/usvirginislands/unitedstatesvirginislands vn/vnm/vietnam vu/vut/vanuatu
wf/wlf/wallisandfutuna ws/wsm/samoa ye/yem/yemen yt/myt/mayotte za/zaf/southafrica/rsa
zm/zmb/zambia zw/zwe/zimbabwe
"""


def _by_name(table: str) -> dict[str, str]:
    entries = (entry.split("/") for entry in table.split())
    return {name: code for code, *names in entries for name in names}


_STATE_OF = _by_name(_STATES)
_STATE_CODES = frozenset(_STATE_OF.values())
_COUNTRY_OF = _by_name(_COUNTRIES)
COUNTRY_CODES = frozenset(_COUNTRY_OF.values())
"""The ISO 3166-1 alpha-2 codes in use, lower case."""


def _letters(text: str) -> str:
    """Fold accents and keep letters: "Côte d'Ivoire" becomes "Cotedivoire"."""
    if text.isascii() and text.isalpha():
        return text
    # Letters of other scripts stay: without them "КалифорнияTexas" would be Texas.
    text = unicodedata.normalize("NFD", text.replace("&", "and"))
    return "".join(char for char in text if char.isalpha())


def state_code(text: str) -> str | None:
    """Return the two letters of a US or Canadian state in lower-case *text*, or None.

    Accepts a name (``"québec"``), a name with the word state (``"new york state"``) and a code
    after its country (``"us-ca"``); a bare code is not looked up.
    """
    country, _, code = text.replace(" ", "").partition("-")
    if country in {"us", "ca"} and code in _STATE_CODES:
        return code
    return _STATE_OF.get(_letters(text).removeprefix("stateof").removesuffix("state"))


def country_from_name(text: str) -> str | None:
    """Return the alpha-2 code of a country given in lower case by name or alpha-3 code, or None."""
    letters = _letters(text)
    return _COUNTRY_OF.get(letters) or _COUNTRY_OF.get(letters.removeprefix("the"))


def country_code(name: str) -> str | None:
    """Return the lower-case alpha-2 code of any country name pycountry knows, or None.

    Knows official names and numeric codes, which the built-in table does not. The result goes into
    `normalise`.

    Raises:
        ModuleNotFoundError: pycountry is missing, with what to install.
    """
    try:
        import pycountry
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError(
            "Country names need pycountry: pip install 'anytrack_async[normalise]'"
        ) from exc
    try:
        return str(pycountry.countries.lookup(name.strip()).alpha_2).lower()
    except LookupError:
        return country_from_name(name.lower())


def phone_with_region(raw: str, region: str) -> str | None:
    """Return *raw* as country code and number, digits only, or None if it is not a phone number.

    Reads national numbers (``020 7946 0958`` with *region* ``"GB"``), ``(0)`` and extensions, which
    the plain rules of `normalise` cannot. The result goes into `normalise`.

    Args:
        raw: the number as written; with a country code, *region* is not used.
        region: ISO 3166-1 alpha-2 code of where the number was written.

    Raises:
        ModuleNotFoundError: phonenumberslite is missing, with what to install.
    """
    try:
        import phonenumbers
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError(
            "Phone regions need phonenumberslite: pip install 'anytrack_async[normalise]'"
        ) from exc
    try:
        number = phonenumbers.parse(raw, region.upper())
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).lstrip("+")
